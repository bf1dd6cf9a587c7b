package redisbus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// run is the pipeline's goroutine. It reads replies until the session ends. If the socket fails, a
// required pipeline ends the session, and any other pipeline dials again.
func (p *pipeline[T]) run() {
	for {
		err := p.ensureSocket()
		if err == nil {
			err = p.readReplies()
		}
		if p.required {
			cause := err
			if dial, ok := errors.AsType[dialError](err); ok {
				// The cause must not be a dialError, because that would mean that no command was
				// sent. The other pipelines of the session may have sent their commands.
				cause = dial.error
			}
			p.session.fail(fmt.Errorf("command connection: %w", cause))
		} else if p.session.ctx.Err() == nil {
			// The node may have been replaced.
			p.session.bus.topology.refresh(p.session.ctx)
		}
		if p.failAll(err) {
			return
		}
	}
}

// ensureSocket waits for the first command and dials the node. If there already is a socket,
// ensureSocket does nothing.
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
	socket, err := dialSocket(ctx, p.node, s.bus.credentials)
	if err != nil {
		return dialError{err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket = socket
	return nil
}

// readReplies reads replies from Redis and completes the commands in flight. It returns an error
// when the socket has failed, or when the session has ended and no commands are left. Before each
// Read of the socket, beforeRead writes the commands that have been enqueued since the last one, so
// that they share a batch.
func (p *pipeline[T]) readReplies() error {
	p.socket.beforeRead, p.socket.onDeadline = p.beforeRead, p.checkHealth
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

// beforeRead is called before each Read of the socket. It writes the waiting commands. If the limit
// on batches in flight prevents it from writing all of them, it records when this wait began; see
// adaptLimit.
func (p *pipeline[T]) beforeRead() {
	if blocked := p.flushAll(); blocked && p.waitingSince.IsZero() {
		p.waitingSince = time.Now()
	}
}

// adaptLimit sets inFlightLimit to suit the link. It is called when a reply arrives while commands
// wait because the limit has been reached (see beforeRead). On a slow link, two batches per round
// trip are too few, so commands wait although Redis is idle.
func (p *pipeline[T]) adaptLimit() {
	now := time.Now()
	waited := now.Sub(p.waitingSince)
	p.waitingSince = time.Time{}
	if waited >= slowReply {
		p.slowWaits += waited
		if p.slowWaits*2 < now.Sub(p.slowSince) {
			// Earlier long waits were exceptions. Measure again, starting with this one.
			p.slowSince, p.slowWaits = now.Add(-waited), waited
			return
		}
		p.limitRaised = now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	// Slow waits take up at least half of the time. Allow one batch per millisecond of the wait.
	case waited >= slowReply:
		p.inFlightLimit = max(p.inFlightLimit, min(int(waited/time.Millisecond), maxInFlight))
	// The link has become fast. A higher limit would only make the batches smaller.
	case p.inFlightLimit > minInFlight && now.Sub(p.limitRaised) > raisedLimitLife:
		p.inFlightLimit, p.freeBatches = minInFlight, nil
	}
}

// completeNext completes the oldest command in flight with the given reply. Redis replies to
// commands in order, so the reply belongs to this command.
func (p *pipeline[T]) completeNext(value int64, reply error) error {
	oldest, ok := p.oldestBatch()
	if !ok {
		return errors.New("redis sent a reply without a command")
	}
	p.replies++
	if !p.waitingSince.IsZero() {
		p.adaptLimit()
	}
	items := oldest.items
	if p.completed < len(items) {
		items[p.completed].complete(value, reply)
		p.completed++
	}
	if p.completed < len(items) {
		return nil
	}
	// Let the garbage collector free the frames.
	clear(items)
	p.completed = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = slices.Delete(p.inFlight, 0, 1)
	p.inFlightBytes -= oldest.bytes
	if items != nil && len(p.freeBatches) < p.inFlightLimit {
		p.freeBatches = append(p.freeBatches, items[:0])
	}
	return p.drainErrLocked()
}

// oldestBatch returns the batch to which the next reply belongs. ok is false if no batch is in
// flight.
func (p *pipeline[T]) oldestBatch() (oldest batch[T], ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inFlight) == 0 {
		return batch[T]{}, false
	}
	return p.inFlight[0], true
}

// drainErrLocked returns the session's error if the session has ended and no commands are left.
// Otherwise it returns nil.
func (p *pipeline[T]) drainErrLocked() error {
	if len(p.inFlight)+len(p.waiting) > 0 {
		return nil
	}
	return p.session.err()
}

// checkHealth writes the waiting commands and checks the connection, when the socket's read
// deadline passes. This happens twice in each probe interval, when the session ends, and when a
// caller leaves much data to the pipeline's goroutine. If the pipeline is idle, it sends a PING, so
// that no proxy closes the connection as unused. It returns an error if Redis has not replied for a
// whole interval, or if the session has ended and no commands are left.
func (p *pipeline[T]) checkHealth() error {
	s, now := p.session, time.Now()
	interval := s.bus.options.probeInterval
	if now.Sub(p.nextCheck) >= interval/2 {
		// This process was suspended, so there may be unread replies.
		p.lastProgress = now
	}
	// Set the next deadline before the steps below. If it were set after them, it could overwrite a
	// deadline that interruptRead has set in the meantime. New commands, or the end of s.ctx, would
	// then be noticed late.
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
		// The limit is one and a half intervals, because the oldest command may have been sent up
		// to half an interval after lastProgress.
		return fmt.Errorf("no reply from redis for %v", interval)
	case !p.required:
		// Another node may have taken over.
		s.bus.topology.refresh(s.ctx)
	}
	p.repliesAtCheck = p.replies
	return nil
}

// checkDrain is called after the session has ended, while commands are still in flight. It returns
// the session's error if Redis has not sent the remaining replies within one probe interval.
// Otherwise it sets the read deadline to the end of that interval.
func (p *pipeline[T]) checkDrain(now time.Time) error {
	if p.replyDeadline.IsZero() {
		p.replyDeadline = now.Add(p.session.bus.options.probeInterval)
	}
	if !now.Before(p.replyDeadline) {
		return p.session.err()
	}
	return p.socket.SetReadDeadline(p.replyDeadline)
}

// scheduleCheck schedules the next health check to run after the given pause.
func (p *pipeline[T]) scheduleCheck(pause time.Duration) error {
	p.nextCheck = time.Now().Add(pause)
	return p.socket.SetReadDeadline(p.nextCheck)
}

// ping sends a PING. If another goroutine is writing, the connection is not idle and ping does
// nothing.
func (p *pipeline[T]) ping() {
	if !p.writeLock.TryLock() {
		return
	}
	p.mu.Lock()
	p.inFlight = append(p.inFlight, batch[T]{})
	p.mu.Unlock()
	writeCommand(p.socket.writer, "ping")
	p.writeBatch(p.socket, nil)
	p.writeLock.Unlock()
}

// failAll closes the socket and completes all commands, both waiting and in flight, with err. If
// the session has ended, failAll uses the session's error instead. It reports whether the session
// has ended.
func (p *pipeline[T]) failAll(err error) bool {
	s := p.session
	if p.socket != nil {
		// Ignore this error, because err already describes the failure.
		_ = p.socket.Close()
	}
	p.waitingSince, p.slowSince = time.Time{}, time.Time{}
	// This does not block for long, because writes to the closed socket fail.
	p.writeLock.Lock()
	p.mu.Lock()
	closedErr := s.err()
	if closedErr != nil {
		err = closedErr
	}
	incomplete := slices.Concat(p.inFlight, []batch[T]{{items: p.waiting}})
	p.socket, p.inFlight, p.inFlightBytes, p.waiting, p.waitingBytes, p.closedErr = nil, nil, 0, nil, 0, closedErr
	p.inFlightLimit = minInFlight
	p.signalSpaceLocked()
	p.mu.Unlock()
	p.writeLock.Unlock()

	for _, b := range incomplete {
		for _, item := range b.items[p.completed:] {
			item.complete(0, err)
		}
		p.completed = 0
	}
	return closedErr != nil
}
