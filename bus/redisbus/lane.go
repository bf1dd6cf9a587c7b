package redisbus

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	maxBatch      = 512
	maxBatchBytes = 1 << 20 // a batch ends with the frame that reaches it
)

// slot is a command that a lane uses again and again, for one item after another.
type slot[T any] interface {
	redis.Cmder
	// set makes the command that of item, and returns how many bytes it carries.
	set(item T) int
	// settle tells what became of item: nil, what Redis answered, or why it could not be asked.
	settle(err error)
}

// lane sends commands of one kind in order, in pipelines over one connection: while a pipeline is on its way, the
// next one fills.
type lane[T any] struct {
	queue   chan T
	through pipeliner
	slots   []slot[T]
	newSlot func() slot[T]
}

func newLane[T any](room int, through pipeliner, newSlot func() slot[T]) *lane[T] {
	return &lane[T]{queue: make(chan T, room), through: through, newSlot: newSlot}
}

// push puts item into the lane and waits for room if it must. Once the session has ended it returns the session's
// error; a nil error means that item will be settled.
func (l *lane[T]) push(ctx context.Context, s *session, item T) error {
	select {
	case l.queue <- item:
	default:
		select {
		case l.queue <- item:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return s.err()
		}
	}
	if s.ctx.Err() != nil { // the lane may have been emptied for the last time
		l.abandon(s.err())
	}
	return nil
}

// run works until the session ends. An idle lane sends a PING now and then, so that neither side takes its
// connection for forgotten.
func (l *lane[T]) run(s *session) {
	idle := time.NewTicker(s.bus.options.probeInterval)
	defer idle.Stop()
	for {
		select {
		case item := <-l.queue:
			l.send(s, item)
			idle.Reset(s.bus.options.probeInterval)
		case <-idle.C:
			if err := ping(s.ctx, l.through); err != nil {
				s.fail(err)
			}
		case <-s.ctx.Done():
			l.abandon(s.err())
			return
		}
	}
}

// send sends first and what else is waiting.
func (l *lane[T]) send(s *session, first T) {
	pipeline := l.through.Pipeline()
	count, size := 0, 0
	for item, more := first, true; more; item, more = l.next(count, size) {
		if count == len(l.slots) {
			l.slots = append(l.slots, l.newSlot())
		}
		size += l.slots[count].set(item)
		_ = pipeline.Process(s.ctx, l.slots[count]) // only adds it
		count++
	}
	_, err := pipeline.Exec(s.ctx)
	if err != nil && !isReply(err) {
		s.fail(fmt.Errorf("sending: %w", err))
	}
	for _, slot := range l.slots[:count] {
		slot.settle(slot.Err())
	}
}

// next returns what is waiting, unless the batch is full.
func (l *lane[T]) next(count, size int) (item T, more bool) {
	if count == maxBatch || size >= maxBatchBytes {
		return item, false
	}
	select {
	case item = <-l.queue:
		return item, true
	default:
		return item, false
	}
}

// abandon settles all that is waiting.
func (l *lane[T]) abandon(err error) {
	slot := l.newSlot()
	for {
		select {
		case item := <-l.queue:
			slot.set(item)
			slot.settle(err)
		default:
			return
		}
	}
}

// isReply says that Redis answered, though not with success.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func ping(ctx context.Context, through pipeliner) error {
	pipeline := through.Pipeline()
	pipeline.Ping(ctx)
	_, err := pipeline.Exec(ctx)
	return err //nolint:wrapcheck // done by whoever ends the session
}
