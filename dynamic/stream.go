package dynamic

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// stream is one side of a stream, the client's or the server's, whatever its message types are. One goroutine, its
// pump, hands over what comes; see stream_receive.go. Nothing that the bus calls waits for it, or for a lock that is
// held while something is sent.
type stream struct {
	streamConfig

	consumer streamConsumer // set before the pump starts
	chain    *streamChain   // set before the pump starts; nil without interceptors
	release  func()         // lets go of what leads to the stream; called by the pump in the end; set before that starts
	mailbox  queue.Mailbox[streamMessage]
	opening  *streamOpening             // of a client's stream
	buffered atomic.Pointer[func() int] // tells how many messages are in the channel; nil before there is one

	context         context.Context //nolint:containedctx // the life of the stream
	cancel          context.CancelCauseFunc
	done            chan struct{} // closed once err is set
	readerGone      chan struct{} // closed when nobody takes messages any more
	pumpDone        chan struct{} // closed when the pump has ended
	closeReaderGone func()        // closes abandoned
	tasks           *lifecycle.Gate
	hijacked        atomic.Bool

	sendLock    chan struct{} // room for one: whoever is sending a frame
	windowSlots chan struct{} // room for the window; nil without one

	dedupKey           uint64 // random, so that no other stream here has it
	started            time.Time
	lastRecv, lastSent atomic.Int64 // when there was last a frame, in nanoseconds since started

	mu           sync.Mutex
	err          error                        // why the stream was closed
	inFlight     map[id.Call]*inFlightMessage // by request id; nil once closed
	allAcked     chan struct{}                // closed when unacked is empty; nil if nobody waits for that
	windowErr    error                        // of a message in the window, not reported yet
	onCloseFuncs []func()                     // to be called when the stream is closed
}

// streamConfig is what a stream is made of.
type streamConfig struct {
	id             []byte
	method         *registry.Method
	topic          []string
	bus            bus.Bus
	remote         bus.Channel   // where the other side listens
	timeout        time.Duration // of a message that has none of its own
	sendType, recvType message.Type
	buffer, window int // 0: the defaults
	counters       *streamCounters
	dedup          *dedup.Cache // messages of all streams here
	endpoint       *endpoint    // that serves the stream; nil on a client
}

// DefaultStreamBuffer is how many messages wait in a stream's channel, unless [WithStreamBuffer] says otherwise.
const DefaultStreamBuffer = 100

// streamCounters count the frames of streams that were dropped.
type streamCounters struct{ expired, unmatched, duplicated, overflowed atomic.Uint64 }

// newStream returns a stream whose context is made of ctx. Its pump is not running.
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

// Err says why the stream was closed; nil while it is open.
func (s *stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// waiting returns how many messages have come and were not read yet.
func (s *stream) waiting() uint64 {
	count := s.mailbox.Len()
	if buffered := s.buffered.Load(); buffered != nil {
		count += (*buffered)()
	}
	return uint64(count) //nolint:gosec // not negative
}

// Hijack keeps the stream open when the handler returns.
func (s *stream) Hijack() { s.hijacked.Store(true) }

// onClose has f called when the stream is closed. f must not block. It reports false if the stream is closed.
func (s *stream) onClose(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.onCloseFuncs = append(s.onCloseFuncs, f)
	return true
}

// markClosed makes the stream a closed one, without a word to the other side. It reports false if it was closed.
func (s *stream) markClosed(err error) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	s.err = err
	s.cancel(err) // so that whoever sees that the stream is closed sees that its context has ended
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

// withFacts adds to err what is known of the stream.
func (s *stream) withFacts(err error, reason errors.Reason) error {
	return errors.WithFacts(err, errors.CallFacts{
		Method: s.method.FullName(), Topic: s.topic, Phase: errors.PhaseStream, Reason: reason,
	})
}

// intercept lets what the user does, and what comes, go through interceptors.
func (s *stream) intercept(chain *streamChain) {
	if chain != nil {
		s.chain = chain
		chain.stream.Store(s)
	}
}

// closeWithContext closes the stream with ctx.
func (s *stream) closeWithContext(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = s.Close(ctx.Err()) })
	if !s.onClose(func() { stop() }) {
		stop()
	}
}
