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
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// stream is one side of a stream, either the client's or the server's. It is independent of the
// message types.
//
// The bus callbacks run on goroutines that are shared by all subscriptions of the bus, so they
// never block: they either handle a frame at once or put it into the mailbox. Each stream has one
// goroutine, called the pump, that takes messages out of the mailbox and delivers them; see
// stream_receive.go. The callbacks hold mu only briefly. mu is never held while a frame is sent,
// because sending can take as long as the bus blocks.
type stream struct {
	streamConfig

	// consumer receives the messages. It is set before the pump starts.
	consumer streamConsumer
	// chain is the chain of interceptor handlers, or nil if there are no interceptors. It is set
	// before the pump starts.
	chain *streamChain
	// release removes the stream from the streamTable or conn that dispatches frames to it. It is
	// set before the pump starts. The pump calls it after the stream has ended.
	release func()
	// mailbox holds messages that have arrived from the bus but have not been taken by the pump.
	mailbox queue.Mailbox[streamMessage]
	// opening is the state of the request that opens the stream. It is nil on a server.
	opening *streamOpening
	// buffered returns the number of messages in the user's channel. It is nil until newTypedStream
	// has created the channel.
	buffered atomic.Pointer[func() int]

	// context ends when the stream is closed.
	context context.Context //nolint:containedctx // it has the stream's lifetime
	cancel  context.CancelCauseFunc
	// done is closed after err is set.
	done chan struct{}
	// readerGone is closed by the first call to Close. After that, the pump no longer waits for the
	// user to read a message.
	readerGone chan struct{}
	// pumpDone is closed when the pump has returned.
	pumpDone        chan struct{}
	closeReaderGone func()
	// tasks counts the calls to Close and the keepalive checks that are still running. The pump
	// waits for them before it returns.
	tasks    *lifecycle.Gate
	hijacked atomic.Bool

	// sendLock serializes sending, so that frames reach the bus in the order of the calls to Send.
	// It is a channel of capacity one rather than a mutex, so that a goroutine can stop waiting for
	// it when its context ends.
	sendLock chan struct{}
	// windowSlots contains one element for each unacknowledged message in the send window. It is
	// nil if the stream has no window.
	windowSlots chan struct{}

	// dedupKey distinguishes this stream from others that share the dedup cache. It is chosen at
	// random.
	dedupKey uint64
	started  time.Time
	// clock judges the times in the frames of the other side. Its fields, except sentAfter, are set
	// before the stream receives frames.
	clock streamClock
	// lastRecv and lastSent are the times at which the last frames were received and sent, in
	// nanoseconds since started.
	lastRecv, lastSent atomic.Int64

	mu sync.Mutex
	// err is the reason why the stream was closed. It is nil while the stream is open.
	err error
	// inFlight maps request IDs to messages that have not been acknowledged yet. It is nil once the
	// stream is closed.
	inFlight map[id.Call]*inFlightMessage
	// allAcked is closed when inFlight becomes empty. It is nil unless a Flush is waiting.
	allAcked chan struct{}
	// windowErr is the first error of a message in the send window since Send or Flush last
	// returned such an error.
	windowErr error
	// onCloseFuncs contains the functions to call when the stream is closed.
	onCloseFuncs []func()
}

// streamOwner is the endpoint that serves a stream. The interface has only the method that
// streamTable calls.
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
	// remote is the channel to which the other side has subscribed.
	remote bus.Channel
	// timeout is the time limit for messages that do not set their own.
	timeout            time.Duration
	sendType, recvType message.Type
	// buffer is the capacity of the user's channel, and window the size of the send window, both in
	// messages. A buffer of zero selects DefaultStreamBuffer. A window of zero or one means that
	// there is no window.
	buffer, window int
	counters       *streamCounters
	// dedup detects messages that the bus has delivered twice. It is shared by all streams of a
	// conn or server.
	dedup *dedup.Cache
	// owner is the endpoint that serves the stream. It is nil on a client.
	owner streamOwner
}

// DefaultStreamBuffer is the default capacity of a stream's channel, in messages. See
// [WithStreamBuffer].
const DefaultStreamBuffer = 100

// streamCounters counts dropped frames. A frame is dropped if it has expired, matches no open
// stream or message in flight, or is a duplicate. It is also dropped if the mailbox is full,
// because the bus callback must not wait for room.
type streamCounters struct{ expired, unmatched, duplicated, overflowed atomic.Uint64 }

// newStream returns a stream whose context is derived from ctx. The caller must either start the
// pump or close the stream with markClosed.
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
	// Cancel the context before releasing mu, so that the context has ended by the time Err returns
	// an error.
	s.cancel(err)
	pending, cleanup := s.inFlight, s.onCloseFuncs
	s.inFlight, s.onCloseFuncs = nil, nil
	if s.windowSlots != nil && len(pending) > 0 && s.windowErr == nil {
		s.windowErr = err
	}
	s.mu.Unlock()

	close(s.done)
	for _, m := range pending {
		m.complete(err)
	}
	for _, f := range cleanup {
		f()
	}
	return true
}

// withFacts returns err annotated with the [errors.CallFacts] of the stream and the given reason.
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

// streamMessage is a received message. The acknowledgement carries the same request ID and times.
type streamMessage struct {
	requestID      []byte
	sentAt, expiry int64 // Unix time in nanoseconds on the sender's clock
	// deadline is when the sender stops waiting for an acknowledgement, as the time since the stream
	// was started.
	deadline time.Duration
	body     []byte
}

// streamConsumer receives the messages from the pump. Its methods are called only by the pump,
// except that interceptors may cause deliver to be called from other goroutines.
type streamConsumer interface {
	// canDeliver reports whether deliver would return without waiting.
	canDeliver() bool
	// deliver waits until the message is in the user's channel, or until expired receives a value
	// while the stream is open. reads is false if the user reads no more messages.
	deliver(message proto.Message, expired <-chan time.Time) (delivered, reads bool)
	// finish closes the user's channel. The pump calls it after the last call to deliver.
	finish()
}

// mailboxSlack is the number of messages that a mailbox can hold in addition to the capacity of the
// stream's channel. This allows a sender with a large window to get ahead of the reader. When the
// mailbox is full, further messages are dropped and counted, because waiting for room would block
// the bus callback and thus all other subscriptions. A dropped message is not acknowledged, so the
// sender's Send fails.
const mailboxSlack = 1024
