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

// stream is one side of a stream, the client's or the server's, independent of its message types.
//
// The bus callbacks run on goroutines that all subscriptions of the bus share, so they never block:
// a frame is handled at once or put into the mailbox. One goroutine per stream, its pump, takes
// messages out of the mailbox and delivers them, see stream_receive.go. The callbacks take mu for
// moments only; mu is never held while a frame is sent, which can take as long as the bus blocks.
type stream struct {
	streamConfig

	// consumer receives the messages. It is set before the pump starts.
	consumer streamConsumer
	// chain holds the interceptors' handlers, nil without interceptors. It is set before the pump
	// starts.
	chain *streamChain
	// release removes the stream from the table or conn that dispatches frames to it. It is set
	// before the pump starts; the pump calls it when the stream has ended.
	release func()
	// mailbox holds messages that arrived from the bus and that the pump has not taken yet.
	mailbox queue.Mailbox[streamMessage]
	// opening is the state of the open request. It is nil on a server.
	opening *streamOpening
	// buffered returns the number of messages in the user's channel. It is nil until newTypedStream
	// has made the channel.
	buffered atomic.Pointer[func() int]

	// context ends when the stream is closed.
	context context.Context //nolint:containedctx // it has the stream's lifetime
	cancel  context.CancelCauseFunc
	// done is closed after err is set.
	done chan struct{}
	// readerGone is closed when the user has closed the stream and reads no more messages.
	readerGone chan struct{}
	// pumpDone is closed when the pump has ended.
	pumpDone        chan struct{}
	closeReaderGone func()
	// tasks counts the calls of Close and the keepalive checks in flight, for which the pump waits.
	tasks    *lifecycle.Gate
	hijacked atomic.Bool

	// sendLock serializes frames, so that they reach the bus in the order of the Sends. It is a
	// channel of capacity one because, unlike a mutex, it can be waited for together with a
	// context.
	sendLock chan struct{}
	// windowSlots holds one element for each message in the window. It is nil without a window.
	windowSlots chan struct{}

	// dedupKey is random, so that it differs from the keys of the other streams that share the
	// dedup cache.
	dedupKey uint64
	started  time.Time
	// lastRecv and lastSent are the times of the last frames, in nanoseconds since started.
	lastRecv, lastSent atomic.Int64

	mu sync.Mutex
	// err is the reason why the stream was closed, nil while it is open.
	err error
	// inFlight holds unacknowledged messages by request id. It is nil once the stream is closed.
	inFlight map[id.Call]*inFlightMessage
	// allAcked is closed when inFlight becomes empty. It is nil if no Flush is waiting.
	allAcked chan struct{}
	// windowErr is the first error of a message in the window that no Send or Flush has returned
	// yet.
	windowErr error
	// onCloseFuncs are called when the stream is closed.
	onCloseFuncs []func()
}

// streamOwner is what a stream must know about the endpoint that serves it.
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
	// timeout applies to messages without a timeout of their own.
	timeout            time.Duration
	sendType, recvType message.Type
	// buffer and window are sizes in messages; zero selects the default.
	buffer, window int
	counters       *streamCounters
	// dedup finds messages that the bus delivered twice. All streams of a conn or server share it.
	dedup *dedup.Cache
	// owner is the endpoint that serves the stream. It is nil on a client.
	owner streamOwner
}

// DefaultStreamBuffer is the number of messages that a stream's channel holds, unless
// [WithStreamBuffer] sets another number.
const DefaultStreamBuffer = 100

// streamCounters count dropped frames. A frame is dropped, instead of blocking the bus callback, if
// it is late, has no stream or pending message, is a duplicate, or finds the mailbox full.
type streamCounters struct{ expired, unmatched, duplicated, overflowed atomic.Uint64 }

// newStream returns a stream whose context is derived from ctx. The caller must start the pump, or
// close the stream with markClosed.
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
		dedupKey:     rand.Uint64(), //nolint:gosec // uniqueness is needed, secrecy is not
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

// Context ends when the stream is closed.
func (s *stream) Context() context.Context { return s.context }

// Err returns the reason why the stream was closed, or nil while it is open.
func (s *stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// waiting returns the number of messages that have arrived and were not read yet.
func (s *stream) waiting() uint64 {
	count := s.mailbox.Len()
	if buffered := s.buffered.Load(); buffered != nil {
		count += (*buffered)()
	}
	return uint64(count) //nolint:gosec // not negative
}

// Hijack keeps the stream open after the handler has returned.
func (s *stream) Hijack() { s.hijacked.Store(true) }

// onClose arranges for f to be called when the stream is closed. f must not block. onClose returns
// false, and f is not called, if the stream is closed already.
func (s *stream) onClose(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.onCloseFuncs = append(s.onCloseFuncs, f)
	return true
}

// markClosed closes the stream on this side only; the other side is not notified. It returns false
// if the stream was closed already.
func (s *stream) markClosed(err error) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	s.err = err
	// The context is canceled under mu: a caller to which Err returns an error finds the context
	// ended.
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

// withFacts attaches the stream's method, topic and phase, and the reason, to err.
func (s *stream) withFacts(err error, reason errors.Reason) error {
	return errors.WithFacts(err, errors.CallFacts{
		Method: s.method.FullName(), Topic: s.topic, Phase: errors.PhaseStream, Reason: reason,
	})
}

// intercept routes the user's calls and the received messages through chain. A nil chain changes
// nothing.
func (s *stream) intercept(chain *streamChain) {
	if chain != nil {
		s.chain = chain
		chain.stream.Store(s)
	}
}

// streamMessage is a received message. Its acknowledgement repeats the request id and both times.
type streamMessage struct {
	requestID      []byte
	sentAt, expiry int64 // Unix time in nanoseconds
	body           []byte
}

// streamConsumer receives the messages from the pump. Only the pump calls its methods, except that
// interceptors may cause calls of deliver from other goroutines.
type streamConsumer interface {
	// canDeliver reports whether deliver would return without waiting.
	canDeliver() bool
	// deliver waits until the message is in the user's channel. It returns false if the stream's
	// user reads no more messages.
	deliver(message proto.Message) bool
	// finish closes the user's channel. The pump calls it after the last deliver.
	finish()
}

// mailboxSlack is how many messages a mailbox holds beyond the size of the stream's channel, so
// that a sender with a large window can be ahead of the reader. Messages beyond that are dropped
// and counted: waiting for room would block the bus callback, and with it all other subscriptions.
// The sender receives no acknowledgement of a dropped message, so its Send fails.
const mailboxSlack = 1024
