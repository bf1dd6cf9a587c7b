package redisbus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// run works until the session ends.
func (l *lane[T]) run() {
	for {
		err := l.connect()
		if err == nil {
			err = l.receive()
		}
		if l.essential {
			l.session.fail(fmt.Errorf("sending: %w", err))
		}
		if l.abandon(err) {
			return
		}
	}
}

// connect makes the connection once it is needed, unless there is one.
func (l *lane[T]) connect() error {
	if l.conn != nil {
		return nil
	}
	s := l.session
	select {
	case <-l.wanted:
	case <-s.ctx.Done():
		return s.err()
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.bus.options.connectTimeout)
	defer cancel()
	connection, err := dial(ctx, l.node)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = connection
	return nil
}

// receive settles commands as Redis answers them. It returns when the connection has failed, or once the session has
// ended and nothing is on its way.
func (l *lane[T]) receive() error {
	l.conn.beforeRead, l.conn.onDeadline = l.flushAll, l.check
	l.since = time.Now()
	if err := l.checkIn(l.session.bus.options.probeInterval / 2); err != nil {
		return err
	}
	defer context.AfterFunc(l.session.ctx, l.conn.wake)()
	for {
		number, err := readReply(l.conn.reader)
		if err != nil && !isReply(err) {
			return err
		}
		if err = l.answer(number, err); err != nil {
			return err
		}
	}
}

// answer settles the oldest command that is on its way.
func (l *lane[T]) answer(number int64, reply error) error {
	batch, some := l.oldest()
	if !some {
		return errors.New("an answer to nothing")
	}
	l.answers++
	if l.answered < len(batch) {
		batch[l.answered].settle(number, reply)
		l.answered++
	}
	if l.answered < len(batch) {
		return nil
	}
	clear(batch) // a spare one holds no frames
	l.answered = 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent[:0], l.sent[1:]...)
	if batch != nil {
		l.spare = append(l.spare, batch[:0])
	}
	return l.finishedLocked()
}

// oldest returns the batch that is answered next, if any is on its way.
func (l *lane[T]) oldest() (batch []T, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sent) == 0 {
		return nil, false
	}
	return l.sent[0], true
}

// finishedLocked returns why the session has ended if the lane has nothing left to do for it.
func (l *lane[T]) finishedLocked() error {
	if len(l.sent)+len(l.waiting) > 0 {
		return nil
	}
	return l.session.err()
}

// check is called twice in each probe interval, when the session ends, and when there is much to flush. It fails if
// Redis does not answer. An idle lane sends a PING, so that neither side takes the connection for forgotten.
func (l *lane[T]) check() error {
	s, now := l.session, time.Now()
	interval := s.bus.options.probeInterval
	if err := l.checkIn(interval / 2); err != nil { // first of all: others may bring the next check forward
		return err
	}
	l.flushAll()
	l.mu.Lock()
	idle, finished := len(l.sent) == 0, l.finishedLocked()
	l.mu.Unlock()
	switch {
	case finished != nil:
		return finished
	case s.ctx.Err() != nil:
		return l.lastCheck(now)
	case idle:
		l.ping()
		l.since = now
	case l.answers != l.seen:
		l.since = now
	case now.Sub(l.since) >= interval+interval/2: // at least an interval since a command was sent
		return fmt.Errorf("no answer for %v", interval)
	}
	l.seen = l.answers
	return nil
}

// lastCheck fails if Redis has not answered long after the session's end.
func (l *lane[T]) lastCheck(now time.Time) error {
	if l.patience.IsZero() {
		l.patience = now.Add(l.session.bus.options.probeInterval)
	}
	if !now.Before(l.patience) {
		return l.session.err()
	}
	return l.conn.SetReadDeadline(l.patience)
}

// checkIn sets when the next check is.
func (l *lane[T]) checkIn(pause time.Duration) error {
	return l.conn.SetReadDeadline(time.Now().Add(pause))
}

// ping sends a PING, unless somebody else is about to send something.
func (l *lane[T]) ping() {
	if !l.writing.TryLock() {
		return
	}
	l.mu.Lock()
	l.sent = append(l.sent, nil)
	l.mu.Unlock()
	writeCommand(l.conn.writer, "ping")
	l.write(l.conn, nil)
	l.writing.Unlock()
}

// abandon settles all that is waiting or was not answered, as the connection has failed. It reports whether the session
// has ended.
func (l *lane[T]) abandon(reason error) bool {
	s := l.session
	if l.conn != nil {
		_ = l.conn.Close() // what it says of the connection's end helps nobody
	}
	l.writing.Lock() // whoever holds it fails by now
	l.mu.Lock()
	ended := s.err()
	if ended != nil {
		reason = ended
	}
	unsettled := slices.Concat(l.sent, [][]T{l.waiting})
	l.conn, l.sent, l.waiting, l.bytes, l.ended = nil, nil, nil, 0, ended
	l.announceLocked()
	l.mu.Unlock()
	l.writing.Unlock()

	for _, batch := range unsettled {
		for _, item := range batch[l.answered:] {
			item.settle(0, reason)
		}
		l.answered = 0
	}
	return ended != nil
}
