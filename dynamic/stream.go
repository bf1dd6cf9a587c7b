package dynamic

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// stream is one side of a stream, either the client's or the server's. It does not depend on the Go
// types of the messages.
//
// Bus callbacks must never block, because all subscriptions share their goroutines. They either
// handle a frame at once or put it into the mailbox. From there, the stream's own goroutine, the
// pump, delivers messages; see stream_receive.go. mu must not be held while a frame is sent,
// because a busy bus may block the sender, and the callbacks also lock mu.
type stream struct {
	streamConfig

	// consumer passes the received messages to the user. It is set before the goroutine that runs
	// the method pump starts.
	consumer streamConsumer
	// chain is the chain of interceptor handlers, or nil if there are no interceptors. It is set
	// before the method pump is called.
	chain *streamChain
	// release removes the stream from the tables of open streams. It is set before the method pump
	// is called. pump calls it after the stream has ended.
	release func()
	// mailbox holds messages that have arrived from the bus and that the method pump has not taken
	// yet.
	mailbox queue.Mailbox[streamMessage]
	// mailboxBytes is the total size of the messages in mailbox.
	mailboxBytes atomic.Int64
	// opening is the state of the request that opens the stream. It is nil on a server.
	opening *streamOpening
	// buffered returns the number of messages in the user's channel. It is nil until the channel
	// has been created.
	buffered atomic.Pointer[func() int]

	// context ends when the stream is closed.
	context context.Context //nolint:containedctx // it has the stream's lifetime
	cancel  context.CancelCauseFunc
	// done is closed when the stream is closed, after the field err has been set.
	done chan struct{}
	// readerGone is closed by the first call to Close. After that, the method pump no longer waits
	// for the user to read a message.
	readerGone chan struct{}
	// pumpDone is closed when the method pump has returned.
	pumpDone        chan struct{}
	closeReaderGone func()
	// tasks counts the running calls to Close and the running keepalive checks. The method pump
	// waits for them before it returns.
	tasks    *lifecycle.Gate
	hijacked atomic.Bool

	// sendLock is held while a frame is sent, so that frames reach the bus one after the other. It
	// is a channel of capacity one rather than a mutex, so that a goroutine can stop waiting for it
	// when its context ends.
	sendLock chan struct{}
	// windowSlots contains one element for each unacknowledged message in the send window. It is
	// nil if the stream has no window.
	windowSlots chan struct{}

	// dedupKey is a random number that distinguishes this stream from others in the same dedup
	// cache.
	dedupKey uint64
	started  time.Time
	// clock converts the times in the other side's frames to durations since the start of the
	// stream. Its fields, except sentAfter, are set before the stream receives frames.
	clock streamClock
	// lastRecv is the time at which the last frame was received, and lastSent is the time at which
	// the last frame was sent. Both are in nanoseconds since the time stored in the field started.
	lastRecv, lastSent atomic.Int64
	// sendCalls is the number of calls to Send. It is counted only on a stream with a send window.
	sendCalls atomic.Uint64

	mu sync.Mutex
	// err is the reason why the stream was closed. It is nil while the stream is open.
	err error
	// inFlight maps request IDs to messages that have not been acknowledged yet. It is nil once the
	// stream is closed.
	inFlight map[id.Call]*inFlightMessage
	// allAcked is closed when the map inFlight becomes empty. It is nil if no Flush is waiting.
	allAcked chan struct{}
	// unacknowledged is the error that the next Send or Flush returns because messages in the send
	// window have failed. It is nil if there is no such error.
	unacknowledged *UnacknowledgedError
	// onCloseFuncs contains the functions to call when the stream is closed.
	onCloseFuncs []func()
}

// streamOwner is the part of an endpoint that streamTable uses. The endpoint serves the stream.
type streamOwner interface {
	// isClosing reports whether the endpoint accepts no more streams.
	isClosing() bool
}

// streamConfig holds the parameters of newStream.
type streamConfig struct {
	id     []byte
	method *registry.Method
	topic  []string
	bus    bus.Bus
	// remote is the bus channel to which the other side has subscribed.
	remote bus.Channel
	// timeout is the time limit for messages that are sent without WithStreamTimeout.
	timeout            time.Duration
	sendType, recvType message.Type
	// buffer is the capacity of the user's channel, and window the size of the send window, both in
	// messages. If buffer is zero, the capacity is DefaultStreamBuffer. If window is zero or one,
	// there is no send window.
	buffer, window int
	// drops counts the dropped frames. All streams of a conn or server share it.
	drops *drops
	// dedup recognizes messages that the bus delivers a second time. All streams of a conn or
	// server share it.
	dedup *dedup.Cache
	// decompressed limits the memory that decompressed messages use. All streams of a conn or
	// server share it.
	decompressed *transport.Budget
	// owner is the endpoint that serves the stream. It is nil on a client.
	owner streamOwner
	// tap points to the field tap of the server. It is nil on a client.
	tap *atomic.Pointer[func(*Traffic)]
}

// DefaultStreamBuffer is the default capacity of a stream's channel, in messages. See
// [WithStreamBuffer].
const DefaultStreamBuffer = 100

// newStream returns a stream whose context is derived from ctx. The caller must then call either
// pump, on a new goroutine, or markClosed.
func newStream(ctx context.Context, config streamConfig) *stream {
	config.timeout = min(config.timeout, maxTimeout)
	if config.buffer <= 0 {
		config.buffer = DefaultStreamBuffer
	}
	s := &stream{
		streamConfig: config,
		mailbox:      queue.NewMailbox[streamMessage](config.buffer + mailboxSlack),
		done:         make(chan struct{}),
		readerGone:   make(chan struct{}),
		pumpDone:     make(chan struct{}),
		tasks:        lifecycle.NewGate(),
		sendLock:     make(chan struct{}, 1),
		dedupKey:     rand.Uint64(), //nolint:gosec // the key must be unique but need not be secret
		started:      time.Now(),
		inFlight:     map[id.Call]*inFlightMessage{},
	}
	s.context, s.cancel = context.WithCancelCause(ctx)
	s.closeReaderGone = sync.OnceFunc(func() { close(s.readerGone) })
	if config.window > 1 {
		s.windowSlots = make(chan struct{}, config.window)
	}
	return s
}

// Context returns a context that ends when the stream is closed.
func (s *stream) Context() context.Context { return s.context }

// Err returns the reason why the stream was closed, or nil while it is open.
func (s *stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// waiting returns the number of messages that have arrived but have not been read yet.
func (s *stream) waiting() uint64 {
	count := s.mailbox.Len()
	if buffered := s.buffered.Load(); buffered != nil {
		count += (*buffered)()
	}
	return uint64(count) //nolint:gosec // count is never negative
}

// Hijack keeps the stream open after the handler has returned.
func (s *stream) Hijack() { s.hijacked.Store(true) }

// onClose registers f to be called when the stream is closed. f must not block. If the stream is
// already closed, onClose returns false and f is not called.
func (s *stream) onClose(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.onCloseFuncs = append(s.onCloseFuncs, f)
	return true
}

// markClosed closes the stream on this side without notifying the other side. It returns false if
// the stream was already closed.
func (s *stream) markClosed(err error) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	s.err = err
	// The context is canceled before mu is unlocked. Once Err returns an error, the context has
	// therefore ended.
	s.cancel(err)
	pending, cleanup := s.inFlight, s.onCloseFuncs
	s.inFlight, s.onCloseFuncs = nil, nil
	for _, m := range pending {
		s.noteUnacknowledgedLocked(m, err)
	}
	s.mu.Unlock()

	close(s.done)
	s.tapStream(TrafficClose, nil, nil)
	for _, m := range pending {
		m.complete(err)
	}
	for _, f := range cleanup {
		f()
	}
	return true
}

// withFacts returns an error that wraps err and contains facts about the stream, including reason.
func (s *stream) withFacts(err error, reason errors.Reason) error {
	return errors.WithFacts(err, errors.CallFacts{
		Method: s.method.FullName(), Topic: s.topic, Phase: errors.PhaseStream, Reason: reason,
	})
}

// intercept makes sent and received messages pass through chain. It does nothing if chain is nil.
func (s *stream) intercept(chain *streamChain) {
	if chain != nil {
		s.chain = chain
		chain.stream.Store(s)
	}
}

// streamMessage is a received message. The acknowledgement must contain the same request ID and
// times.
type streamMessage struct {
	requestID []byte
	// sentAt and expiry are Unix times in nanoseconds, according to the sender's clock.
	sentAt, expiry int64
	// deadline is the time at which the sender stops waiting for an acknowledgement, measured from
	// the start of the stream.
	deadline time.Duration
	body     []byte
	// expanded is the number of bytes that are reserved in streamConfig.decompressed for the
	// message.
	expanded int
}

// streamConsumer passes the messages of a stream to the user. Its methods are called by the method
// pump of the stream. If there are interceptors, however, other goroutines may call deliver too.
type streamConsumer interface {
	// canDeliver reports whether deliver would return without waiting.
	canDeliver() bool
	// deliver waits until the message is in the user's channel. While the stream is open, deliver
	// gives up as soon as it receives a value from the channel expired. delivered reports whether
	// the message is in the user's channel. reads is false if the user no longer reads messages.
	deliver(message proto.Message, expired <-chan time.Time) (delivered, reads bool)
	// finish closes the user's channel. It is called after the last call to deliver.
	finish()
}

// mailboxSlack is the number of messages that a mailbox can hold in addition to the capacity of the
// stream's channel. It makes room for a sender with a large window that is faster than the reader.
// When the mailbox is full, further messages are dropped and counted, because the bus callback must
// not wait for room. A dropped message is not acknowledged, so the sender's Send fails.
const mailboxSlack = 1024

// maxMailboxBytes is the maximum total size, in bytes, of the messages in a mailbox. An empty
// mailbox accepts a message of any size.
const maxMailboxBytes = 64 << 20
