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

var errNoRoom = errors.NewErrorf(errors.ResourceExhausted, "redis bus: too many commands wait for their server")

// slot is a command that a lane uses again and again, for one item after another.
type slot[T any] interface {
	redis.Cmder
	// set makes the command that of item, and returns how many bytes it carries.
	set(item T) int
	// settle tells what became of item: nil, what Redis answered, or why it could not be asked.
	settle(err error)
}

// lane sends commands of one kind in order, in pipelines over a connection of its own: while a pipeline is on its way,
// the next one fills.
type lane[T any] struct {
	queue      chan T
	node       *redis.Client
	connection *redis.Conn
	essential  bool // the session ends if the lane's connection fails. Else the lane takes another one
	slots      []slot[T]
	newSlot    func() slot[T]
}

func newLane[T any](room int, node *redis.Client, essential bool, newSlot func() slot[T]) *lane[T] {
	return &lane[T]{
		queue: make(chan T, room), node: node, connection: node.EphemeralConn(), essential: essential, newSlot: newSlot,
	}
}

// push puts item into the lane. An essential lane waits for room if it must; another one fails if it is full. Once the
// session has ended push returns the session's error; a nil error means that item will be settled.
func (l *lane[T]) push(ctx context.Context, s *session, item T) error {
	select {
	case l.queue <- item:
	default:
		if !l.essential { // its server does not answer, which holds up nobody else
			return errNoRoom
		}
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
	defer func() { _ = l.connection.Close() }() // what it says of the connection's end helps nobody
	idle := time.NewTicker(s.bus.options.probeInterval)
	defer idle.Stop()
	for {
		select {
		case item := <-l.queue:
			l.send(s, item)
			idle.Reset(s.bus.options.probeInterval)
		case <-idle.C:
			if err := l.connection.Ping(s.ctx).Err(); err != nil {
				l.broken(s, err)
			}
		case <-s.ctx.Done():
			l.abandon(s.err())
			return
		}
	}
}

// send sends first and what else is waiting.
func (l *lane[T]) send(s *session, first T) {
	size := l.slot(0).set(first)
	count := 1
	for item, more := l.next(count, size); more; item, more = l.next(count, size) {
		size += l.slot(count).set(item)
		count++
	}
	if err := l.exchange(s.ctx, l.slots[:count]); err != nil && !isReply(err) {
		l.broken(s, err)
	}
	for _, slot := range l.slots[:count] {
		slot.settle(slot.Err())
	}
}

// slot returns the command at place i of a batch; there is one at each before it.
func (l *lane[T]) slot(i int) slot[T] {
	if i == len(l.slots) {
		l.slots = append(l.slots, l.newSlot())
	}
	return l.slots[i]
}

// exchange sends commands and receives their replies.
func (l *lane[T]) exchange(ctx context.Context, commands []slot[T]) error {
	if len(commands) == 1 { // a pipeline costs more
		return l.connection.Process(ctx, commands[0])
	}
	pipeline := l.connection.Pipeline()
	for _, command := range commands {
		_ = pipeline.Process(ctx, command) // only adds it
	}
	_, err := pipeline.Exec(ctx)
	return err
}

// broken deals with a connection that failed. A session whose essential lane fails tells why, all others go on.
func (l *lane[T]) broken(s *session, err error) {
	if l.essential {
		s.fail(fmt.Errorf("sending: %w", err))
		return
	}
	_ = l.connection.Close()
	l.connection = l.node.EphemeralConn()
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
