package update

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// ErrEnded is returned by [Subscription.Forward] if the subscription has ended.
var ErrEnded = errors.New("the subscription has ended")

// delivery puts the updates of one subscription into the user's channel. The bus callback does so
// directly while the reader keeps up, no large update has arrived, and Config.Handle is nil.
// Otherwise, it adds the frames to the backlog, from which another goroutine takes them.
type delivery[Resp proto.Message] struct {
	config   Config
	messages chan Resp
	backlog  *backlog
	// context ends when the subscription ends. Goroutines that wait for room in the channel then
	// stop waiting.
	context context.Context //nolint:containedctx // it has the lifetime of the subscription
	// inFlight counts the goroutines, other than bus callbacks, that may send on the user's
	// channel.
	inFlight *lifecycle.Gate
	// startEnd starts to end the subscription. It does not block.
	startEnd func(err error)

	received, dropped, badFrames atomic.Uint64
	// handled is the size in bytes of the update that was last passed to Config.Handle. Forward
	// uses this size even if that function has replaced the message.
	handled atomic.Int64
	// slowConsumer is set when an overflow ends the subscription.
	slowConsumer atomic.Bool
}

// deliver handles a frame from the bus. It never blocks: if the update cannot be put into the
// channel immediately, the frame is added to the backlog.
func (d *delivery[Resp]) deliver(frame []byte) {
	d.received.Add(1)
	d.backlog.observe(len(frame))
	if d.config.Handle == nil && !d.backlog.lagging.Load() && !d.backlog.counting.Load() {
		if update, _, ok := d.decode(frame); !ok || d.trySend(update.Message.(Resp)) {
			return
		}
	}
	if d.enqueue(frame) {
		d.logDropped(transport.DropOverflowed, nil)
	}
}

// errWrongUpdate is the error for an update whose message has another type than the method's
// updates.
var errWrongUpdate = errors.New("the update contains a message of another type")

// decode decodes a frame. size is the size of the encoded message after decompression, in bytes. If
// the frame is malformed or contains a message of another type, decode counts it and returns false.
func (d *delivery[Resp]) decode(frame []byte) (update Update, size int, ok bool) {
	update, size, err := d.parse(frame)
	if err != nil {
		d.badFrames.Add(1)
		d.logDropped(transport.DropBadFrame, err)
		return update, 0, false
	}
	d.backlog.observe(size)
	return update, size, true
}

func (d *delivery[Resp]) parse(frame []byte) (update Update, size int, err error) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil {
		return update, 0, err
	}
	if string(envelope.TypeName) != string(d.config.Updates.Name) {
		return update, 0, errWrongUpdate
	}
	value, err := transport.Decompress(envelope.Value, d.config.Limits)
	if err != nil {
		return update, 0, err
	}
	message, err := d.config.Updates.Decode(value)
	return Update{message, envelope.Metadata}, len(value), err
}

// logDropped logs that an update is dropped. The number of log lines is limited for all
// subscriptions of the conn together.
func (d *delivery[Resp]) logDropped(reason transport.DropReason, err error) {
	d.config.Drops.Log(reason, transport.DroppedFrame{Method: d.config.Method, Err: err})
}

// enqueue adds a frame to the backlog. It starts a goroutine that delivers the backlog, unless
// there is already one. If the backlog is full, enqueue applies the overflow policy and returns
// true. It never blocks.
func (d *delivery[Resp]) enqueue(frame []byte) (overflowed bool) {
	b := d.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.fullLocked(len(frame), len(d.messages)) {
		overflowed = true
		if !d.overflowLocked() {
			return true
		}
	}
	b.pushLocked(frame)
	if b.lagging.Load() || !d.inFlight.Enter() {
		return overflowed
	}
	b.lagging.Store(true)
	// If Go fails, the conn is closing and will end the subscription.
	if d.config.Go(d.deliverBacklog) != nil {
		d.inFlight.Leave()
	}
	return overflowed
}

// slowReaderError is the reason why a subscription with the policy [End] ends. It wraps
// errors.ErrSlowConsumer, but has a text of its own, because the text of ErrSlowConsumer is about
// streams. That text cannot be changed, because psrpc peers know it.
type slowReaderError struct{ method string }

func (e slowReaderError) Error() string {
	return "the subscription to " + e.method + " has ended: its reader was too slow and its buffer was full"
}

func (slowReaderError) Unwrap() error { return errors.ErrSlowConsumer }

// overflowLocked applies the overflow policy once. It returns false if it drops the new update. The
// caller must hold the lock of the backlog.
func (d *delivery[Resp]) overflowLocked() bool {
	if d.config.Overflow == DropOldest {
		if d.dropOldestLocked() {
			d.dropped.Add(1)
		}
		return true
	}
	d.dropped.Add(1)
	if d.config.Overflow == End && !d.slowConsumer.Swap(true) {
		d.startEnd(errors.NewError(errors.Unavailable, slowReaderError{d.config.Method.FullName()}))
	}
	return false
}

// dropOldestLocked drops the oldest unread update that counts towards the limits. If the channel is
// empty, or if the updates in it do not count, that is the first update in the backlog.
// dropOldestLocked returns false if there is no update to drop, because the user has just emptied
// the channel.
func (d *delivery[Resp]) dropOldestLocked() bool {
	if d.backlog.limit > 0 || d.backlog.sent.Len() > 0 {
		select {
		case <-d.messages:
			return true
		default:
		}
	}
	_, dropped := d.backlog.popLocked()
	return dropped
}

// makeRoom makes room in the channel for an update that has become larger than its frame when it
// was decompressed. It returns false if the update is dropped.
func (d *delivery[Resp]) makeRoom(size int) bool {
	b, overflowed, room := d.backlog, false, true
	b.mu.Lock()
	for room && b.exceedsLocked(size, len(d.messages)) {
		overflowed, room = true, d.overflowLocked()
	}
	b.mu.Unlock()
	if overflowed {
		d.logDropped(transport.DropOverflowed, nil)
	}
	return room
}

// deliverBacklog delivers the frames in the backlog until the backlog is empty or the subscription
// ends. Subscription.Close and the conn wait until deliverBacklog has returned, because both
// d.inFlight and the conn count its goroutine.
func (d *delivery[Resp]) deliverBacklog() {
	defer d.inFlight.Leave()
	for d.context.Err() == nil {
		frame, ok := d.backlog.pop()
		if !ok {
			return
		}
		update, size, ok := d.decode(frame)
		if !ok || size > len(frame) && !d.makeRoom(size) {
			continue
		}
		if !d.deliverDecoded(update, size) {
			return
		}
	}
}

// deliverDecoded passes an update to Config.Handle or, if there is no such function, into the
// channel. It returns false if the subscription has ended or is about to end.
func (d *delivery[Resp]) deliverDecoded(update Update, size int) bool {
	if d.config.Handle == nil {
		return d.sendBlocking(update.Message.(Resp), size)
	}
	d.handled.Store(int64(size))
	if err := d.config.Handle(d.context, update); err != nil {
		d.startEnd(err)
		return false
	}
	return true
}

// sendBlocking puts an update into the channel. It waits while the channel is full. If the
// subscription ends first, it counts the update as dropped and returns false.
func (d *delivery[Resp]) sendBlocking(message Resp, size int) bool {
	if !d.trySend(message) {
		select {
		case d.messages <- message:
		case <-d.context.Done():
			d.dropped.Add(1)
			return false
		}
	}
	d.backlog.recordSent(size)
	return true
}

// trySend puts an update into the channel. It returns false if the channel is full.
func (d *delivery[Resp]) trySend(message Resp) bool {
	select {
	case d.messages <- message:
		return true
	default:
		return false
	}
}

// forward implements Subscription.Forward.
func (d *delivery[Resp]) forward(update proto.Message) error {
	if !d.inFlight.Enter() {
		return ErrEnded
	}
	defer d.inFlight.Leave()
	update, err := d.config.Updates.Convert(update)
	if err != nil {
		return err
	}
	// Config.Handle may have replaced the message. Its size is not computed again, because that
	// would take time. The size of the original message is used instead.
	if !d.sendBlocking(update.(Resp), int(d.handled.Load())) {
		return ErrEnded
	}
	return nil
}
