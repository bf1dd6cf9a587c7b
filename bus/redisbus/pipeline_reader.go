package redisbus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// run reads replies until the session ends, and dials again after a failure unless the pipeline is
// required. It is the pipeline's goroutine.
func (p *pipeline[T]) run() {
	for {
		err := p.ensureSocket()
		if err == nil {
			err = p.readReplies()
		}
		if p.required {
			p.session.fail(fmt.Errorf("command connection: %w", err))
		}
		if p.failAll(err) {
			return
		}
	}
}

// ensureSocket dials the node when the first command waits. It does nothing if there is a socket.
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

// readReplies completes commands with the replies from Redis. It returns an error when the socket
// has failed, or when the session has ended and no command is left.
//
// The socket flushes the pipeline before each Read that may block: by then all replies that had
// arrived are processed, so one batch holds all commands that were enqueued meanwhile.
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

// completeNext completes the oldest command in flight: Redis replies in the order of the commands.
func (p *pipeline[T]) completeNext(value int64, reply error) error {
	batch, ok := p.oldestBatch()
	if !ok {
		return errors.New("redis sent a reply without a command")
	}
	p.replies++
	if p.completed < len(batch) {
		batch[p.completed].complete(value, reply)
		p.completed++
	}
	if p.completed < len(batch) {
		return nil
	}
	clear(batch) // a free batch must not keep frames from being collected
	p.completed = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = append(p.inFlight[:0], p.inFlight[1:]...)
	if batch != nil {
		p.freeBatches = append(p.freeBatches, batch[:0])
	}
	return p.drainErrLocked()
}

// oldestBatch returns the batch that Redis replies to next. ok is false if no batch is in flight.
func (p *pipeline[T]) oldestBatch() (batch []T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inFlight) == 0 {
		return nil, false
	}
	return p.inFlight[0], true
}

// drainErrLocked returns the session's error if the session has ended and no command is left, or
// else nil.
func (p *pipeline[T]) drainErrLocked() error {
	if len(p.inFlight)+len(p.waiting) > 0 {
		return nil
	}
	return p.session.err()
}

// checkHealth runs when the socket's read deadline passes: twice in each probe interval, when the
// session ends, and when a caller leaves a large flush to the pipeline's goroutine. It returns an
// error if Redis has not answered for an interval. An idle pipeline sends a PING, so that neither
// Redis nor a proxy closes the connection as unused.
func (p *pipeline[T]) checkHealth() error {
	s, now := p.session, time.Now()
	interval := s.bus.options.probeInterval
	// Set the next deadline first: another goroutine may call interruptRead during the rest of this
	// check, and its deadline must not be overwritten.
	if err := p.scheduleCheck(interval / 2); err != nil {
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
	case now.Sub(p.lastProgress) >= interval+interval/2:
		// The oldest command may have been sent up to half an interval after lastProgress.
		return fmt.Errorf("no reply from redis for %v", interval)
	}
	p.repliesAtCheck = p.replies
	return nil
}

// checkDrain returns the session's error if Redis has not sent the remaining replies within a probe
// interval of the session's end. Until then it moves the read deadline to that time.
func (p *pipeline[T]) checkDrain(now time.Time) error {
	if p.replyDeadline.IsZero() {
		p.replyDeadline = now.Add(p.session.bus.options.probeInterval)
	}
	if !now.Before(p.replyDeadline) {
		return p.session.err()
	}
	return p.socket.SetReadDeadline(p.replyDeadline)
}

// scheduleCheck makes the next health check happen after pause.
func (p *pipeline[T]) scheduleCheck(pause time.Duration) error {
	return p.socket.SetReadDeadline(time.Now().Add(pause))
}

// ping sends a PING. It does nothing if another goroutine is writing, because then the socket is
// not idle.
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

// failAll closes the socket and completes all commands, waiting and in flight, with err, or with
// the session's error if the session has ended. It reports whether the session has ended.
func (p *pipeline[T]) failAll(err error) bool {
	s := p.session
	if p.socket != nil {
		_ = p.socket.Close() // err is the error to report
	}
	p.writeLock.Lock() // a writer that holds it fails now, because the socket is closed
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
