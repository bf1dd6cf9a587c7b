package redisbus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// run works until the session ends.
func (p *pipeline[T]) run() {
	for {
		err := p.ensureSocket()
		if err == nil {
			err = p.readReplies()
		}
		if p.required {
			p.session.fail(fmt.Errorf("sending: %w", err))
		}
		if p.failAll(err) {
			return
		}
	}
}

// ensureSocket makes the connection once it is needed, unless there is one.
func (p *pipeline[T]) ensureSocket() error {
	if p.socket != nil {
		return nil
	}
	s := p.session
	select {
	case <-p.dialRequest:
	case <-s.ctx.Done():
		return s.err()
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.bus.options.connectTimeout)
	defer cancel()
	socket, err := dialSocket(ctx, p.node)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket = socket
	return nil
}

// readReplies settles commands as Redis answers them. It returns when the connection has failed, or once the session has
// ended and nothing is on its way.
func (p *pipeline[T]) readReplies() error {
	p.socket.beforeRead, p.socket.onDeadline = p.flushAll, p.checkHealth
	p.lastProgress = time.Now()
	if err := p.scheduleCheck(p.session.bus.options.probeInterval / 2); err != nil {
		return err
	}
	defer context.AfterFunc(p.session.ctx, p.socket.interruptRead)()
	for {
		value, err := readReply(p.socket.reader)
		if err != nil && !isRedisError(err) {
			return err
		}
		if err = p.completeNext(value, err); err != nil {
			return err
		}
	}
}

// completeNext settles the oldest command that is on its way.
func (p *pipeline[T]) completeNext(value int64, reply error) error {
	batch, ok := p.oldestBatch()
	if !ok {
		return errors.New("an answer to nothing")
	}
	p.replies++
	if p.completed < len(batch) {
		batch[p.completed].complete(value, reply)
		p.completed++
	}
	if p.completed < len(batch) {
		return nil
	}
	clear(batch) // a spare one holds no frames
	p.completed = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = append(p.inFlight[:0], p.inFlight[1:]...)
	if batch != nil {
		p.freeBatches = append(p.freeBatches, batch[:0])
	}
	return p.drainErrLocked()
}

// oldestBatch returns the batch that is answered next, if any is on its way.
func (p *pipeline[T]) oldestBatch() (batch []T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inFlight) == 0 {
		return nil, false
	}
	return p.inFlight[0], true
}

// drainErrLocked returns why the session has ended if the lane has nothing left to do for it.
func (p *pipeline[T]) drainErrLocked() error {
	if len(p.inFlight)+len(p.waiting) > 0 {
		return nil
	}
	return p.session.err()
}

// checkHealth is called twice in each probe interval, when the session ends, and when there is much to flush. It fails if
// Redis does not answer. An idle lane sends a PING, so that neither side takes the connection for forgotten.
func (p *pipeline[T]) checkHealth() error {
	s, now := p.session, time.Now()
	interval := s.bus.options.probeInterval
	if err := p.scheduleCheck(interval / 2); err != nil { // first of all: others may bring the next check forward
		return err
	}
	p.flushAll()
	p.mu.Lock()
	idle, drained := len(p.inFlight) == 0, p.drainErrLocked()
	p.mu.Unlock()
	switch {
	case drained != nil:
		return drained
	case s.ctx.Err() != nil:
		return p.checkDrain(now)
	case idle:
		p.ping()
		p.lastProgress = now
	case p.replies != p.repliesAtCheck:
		p.lastProgress = now
	case now.Sub(p.lastProgress) >= interval+interval/2: // at least an interval since a command was sent
		return fmt.Errorf("no answer for %v", interval)
	}
	p.repliesAtCheck = p.replies
	return nil
}

// checkDrain fails if Redis has not answered long after the session's end.
func (p *pipeline[T]) checkDrain(now time.Time) error {
	if p.replyDeadline.IsZero() {
		p.replyDeadline = now.Add(p.session.bus.options.probeInterval)
	}
	if !now.Before(p.replyDeadline) {
		return p.session.err()
	}
	return p.socket.SetReadDeadline(p.replyDeadline)
}

// scheduleCheck sets when the next check is.
func (p *pipeline[T]) scheduleCheck(pause time.Duration) error {
	return p.socket.SetReadDeadline(time.Now().Add(pause))
}

// ping sends a PING, unless somebody else is about to send something.
func (p *pipeline[T]) ping() {
	if !p.writeLock.TryLock() {
		return
	}
	p.mu.Lock()
	p.inFlight = append(p.inFlight, nil)
	p.mu.Unlock()
	writeCommand(p.socket.writer, "ping")
	p.writeBatch(p.socket, nil)
	p.writeLock.Unlock()
}

// failAll settles all that is waiting or was not answered, as the connection has failed. It reports whether the session
// has ended.
func (p *pipeline[T]) failAll(err error) bool {
	s := p.session
	if p.socket != nil {
		_ = p.socket.Close() // what it says of the connection's end helps nobody
	}
	p.writeLock.Lock() // whoever holds it fails by now
	p.mu.Lock()
	closedErr := s.err()
	if closedErr != nil {
		err = closedErr
	}
	incomplete := slices.Concat(p.inFlight, [][]T{p.waiting})
	p.socket, p.inFlight, p.waiting, p.waitingBytes, p.closedErr = nil, nil, nil, 0, closedErr
	p.signalSpaceLocked()
	p.mu.Unlock()
	p.writeLock.Unlock()

	for _, batch := range incomplete {
		for _, item := range batch[p.completed:] {
			item.complete(0, err)
		}
		p.completed = 0
	}
	return closedErr != nil
}
