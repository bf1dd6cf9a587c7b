package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Run reads replies and completes commands until the session has ended and no commands are left.
// Then it closes the connection and returns. If the connection fails, a required pipeline ends the
// session, and any other pipeline dials again.
func (p *Pipeline[T]) Run() {
	for {
		err := p.ensureConn()
		if err == nil {
			err = p.readReplies()
		}
		if p.config.Required {
			cause := err
			if dial, ok := errors.AsType[DialError](err); ok {
				// The cause must not be a DialError, because that would mean that no command was
				// sent. The other pipelines of the session may have sent their commands.
				cause = dial.error
			}
			p.session.Fail(fmt.Errorf("command connection: %w", cause))
		} else if ctx := p.session.Context(); ctx.Err() == nil {
			// The server may have been replaced.
			p.config.Refresh(ctx)
		}
		if p.failAll(err) {
			return
		}
	}
}

// ensureConn waits for the first command and dials the server. If there already is a connection,
// ensureConn does nothing.
func (p *Pipeline[T]) ensureConn() error {
	if p.conn != nil {
		return nil
	}
	ctx := p.session.Context()
	select {
	case <-p.dialRequest:
	case <-ctx.Done():
		return p.session.Err()
	}
	conn, err := p.config.Dial(ctx)
	if err != nil {
		return DialError{err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = conn
	return nil
}

// readReplies reads replies from Redis and completes the commands in flight. It returns an error
// when the connection has failed, or when the session has ended and no commands are left. Before
// each Read of the connection, beforeRead writes the commands that have been enqueued in the
// meantime, so that they share a batch.
func (p *Pipeline[T]) readReplies() error {
	p.conn.BeforeRead, p.conn.OnDeadline = p.beforeRead, p.checkHealth
	p.liveness.lastProgress = time.Now()
	if err := p.conn.SetReadDeadline(p.liveness.schedule()); err != nil {
		return err
	}
	defer context.AfterFunc(p.session.Context(), p.conn.Interrupt)()
	for {
		value, err := resp.ReadReply(p.conn.Reader)
		if err != nil && !resp.IsError(err) {
			return err
		}
		if err = p.completeNext(value, err); err != nil {
			return err
		}
	}
}

// beforeRead is called before each Read of the connection. It writes the waiting commands. If some
// of them must wait for a reply, the link starts to measure this wait.
func (p *Pipeline[T]) beforeRead() {
	if p.flushAll() {
		p.link.onBlocked()
	}
}

// completeNext completes the oldest command in flight with the given reply. Redis replies to
// commands in order, so the reply belongs to this command.
func (p *Pipeline[T]) completeNext(value int64, reply error) error {
	oldest, ok := p.oldestBatch()
	if !ok {
		return errors.New("redis sent a reply without a command")
	}
	p.liveness.replies++
	if p.link.isBlocked() {
		p.adaptLimit()
	}
	items := oldest.items
	if p.completed < len(items) {
		items[p.completed].Complete(value, reply)
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
	p.queue.removeOldest()
	return p.drainErrLocked()
}

// oldestBatch returns the batch to which the next reply belongs. ok is false if no batch is in
// flight.
func (p *Pipeline[T]) oldestBatch() (oldest batch[T], ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.oldest()
}

// adaptLimit sets the limit on batches in flight to suit the link. It is called when a reply
// arrives for which commands have waited.
func (p *Pipeline[T]) adaptLimit() {
	limit := p.link.onReply(p.queue.inFlightLimit)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.setLimit(limit)
}

// drainErrLocked returns the session's error if the session has ended and no commands are left.
// Otherwise it returns nil.
func (p *Pipeline[T]) drainErrLocked() error {
	if !p.queue.isEmpty() {
		return nil
	}
	return p.session.Err()
}

// checkHealth is called when the read deadline passes: twice in each probe interval, when the
// session ends, and when the waiting commands of a caller are too large for it to write them
// itself. checkHealth writes the waiting commands and sends a PING if the connection is idle. It
// returns an error if Redis has not replied for too long, or if the session has ended and no
// commands are left.
func (p *Pipeline[T]) checkHealth() error {
	now := time.Now()
	p.liveness.resume(now)
	// Set the next deadline before the steps below. If it were set after them, it could overwrite a
	// deadline that Interrupt has set in the meantime. New commands, or the end of the session,
	// would then be noticed late.
	if err := p.conn.SetReadDeadline(p.liveness.schedule()); err != nil {
		return err
	}
	p.flushAll()
	p.mu.Lock()
	idle, drained := len(p.queue.inFlight) == 0, p.drainErrLocked()
	p.mu.Unlock()
	ctx := p.session.Context()
	switch {
	case drained != nil:
		return drained
	case ctx.Err() != nil:
		return p.checkDrain(now)
	case idle:
		p.ping()
	}
	switch p.liveness.check(now, idle) {
	case dead:
		return fmt.Errorf("no reply from redis for %v", p.config.ProbeInterval)
	case silent:
		if !p.config.Required {
			// Another server may have taken over.
			p.config.Refresh(ctx)
		}
	case alive:
	}
	return nil
}

// checkDrain is called after the session has ended, while commands are still in flight. It returns
// the session's error if Redis has not sent the remaining replies within one probe interval.
// Otherwise it sets the read deadline to the end of that interval.
func (p *Pipeline[T]) checkDrain(now time.Time) error {
	deadline := p.liveness.drainDeadline(now)
	if !now.Before(deadline) {
		return p.session.Err()
	}
	return p.conn.SetReadDeadline(deadline)
}

// ping sends a PING, so that no proxy closes the connection as unused. If another goroutine is
// writing, the connection is not idle and ping does nothing.
func (p *Pipeline[T]) ping() {
	if !p.writeLock.TryLock() {
		return
	}
	p.mu.Lock()
	p.queue.addPing()
	p.mu.Unlock()
	resp.WriteCommand(p.conn.Writer, "ping")
	p.writeBatch(p.conn, nil)
	p.writeLock.Unlock()
}

// failAll closes the connection and completes all commands, both waiting and in flight, with err.
// If the session has ended, failAll uses the session's error instead. It reports whether the
// session has ended.
func (p *Pipeline[T]) failAll(err error) bool {
	if p.conn != nil {
		// Ignore this error, because err already describes the failure.
		_ = p.conn.Close()
	}
	p.link.reset()
	// This does not block for long, because writes to the closed connection fail.
	p.writeLock.Lock()
	p.mu.Lock()
	closedErr := p.session.Err()
	if closedErr != nil {
		err = closedErr
	}
	incomplete := p.queue.takeAll()
	p.conn, p.closedErr = nil, closedErr
	p.mu.Unlock()
	p.writeLock.Unlock()

	for _, b := range incomplete {
		for _, item := range b.items[p.completed:] {
			item.Complete(0, err)
		}
		p.completed = 0
	}
	return closedErr != nil
}
