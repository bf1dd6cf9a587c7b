package stream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Stream is one side of a stream, either the client's or the server's. It does not depend on the Go
// types of the messages. A [Reader] adds the Go type of the received messages. All methods are safe
// for concurrent use, except for SetContext, SetChain, DisableWindow and the function [NewReader],
// which prepare the stream before it is open.
type Stream struct {
	config Config
	clock  clock
	// mailbox holds messages that have arrived from the bus and that the method Run has not taken
	// yet.
	mailbox  mailbox
	inFlight inFlight

	// consumer passes the received messages to the reader. It contains nil until NewReader is
	// called.
	consumer atomic.Pointer[consumer]
	// chain is nil if there are no interceptors. It does not change after the method Run has been
	// called.
	chain Chain

	// context ends when the stream is closed.
	context context.Context //nolint:containedctx // it has the stream's lifetime
	cancel  context.CancelCauseFunc
	// closed is closed when the stream is closed, after the field err has been set.
	closed chan struct{}
	// readerGone is closed by the first call to Close. After that, the method Run no longer waits
	// for the user to read a message.
	readerGone      chan struct{}
	closeReaderGone func()
	// ended is closed when the method Run has returned.
	ended chan struct{}
	// tasks counts the running calls to Close and the running keepalive checks. The method Run
	// waits for them before it returns.
	tasks    *lifecycle.Gate
	hijacked atomic.Bool

	// sendLock is held while a frame is sent, so that frames reach the bus one after the other. It
	// is a channel of capacity one rather than a mutex, so that a goroutine can stop waiting for it
	// when its context ends.
	sendLock chan struct{}

	// dedupKey is a random number that distinguishes this stream from others in the same dedup
	// cache.
	dedupKey uint64
	started  time.Time
	// lastRecv is the time at which the last frame was received, and lastSent is the time at which
	// the last frame was sent. Both are in nanoseconds since the time stored in the field started.
	lastRecv, lastSent atomic.Int64

	mu sync.Mutex
	// err is the reason why the stream was closed. It is nil while the stream is open.
	err error
	// onCloseFuncs contains the functions to call when the stream is closed.
	onCloseFuncs []func()
}

// New returns a stream whose context is derived from ctx. The caller must later call Run, on a new
// goroutine, or Discard.
func New(ctx context.Context, config Config) *Stream {
	config.Timeout = min(config.Timeout, transport.MaxTimeout)
	s := &Stream{
		config:     config,
		mailbox:    newMailbox(config.Buffer, config.Decompressed),
		closed:     make(chan struct{}),
		readerGone: make(chan struct{}),
		ended:      make(chan struct{}),
		tasks:      lifecycle.NewGate(),
		sendLock:   make(chan struct{}, 1),
		dedupKey:   rand.Uint64(), //nolint:gosec // the key must be unique but need not be secret
		started:    time.Now(),
	}
	s.clock.config = &s.config
	s.inFlight.config, s.inFlight.started, s.inFlight.closed = &s.config, s.started, s.closed
	s.inFlight.messages = map[id.Call]*sentMessage{}
	if config.Window > 1 {
		s.inFlight.slots = make(chan struct{}, config.Window)
	}
	s.context, s.cancel = context.WithCancelCause(ctx)
	s.closeReaderGone = sync.OnceFunc(func() { close(s.readerGone) })
	return s
}

// ID returns the ID of the stream. The caller must not modify it.
func (s *Stream) ID() []byte { return s.config.ID }

// Method returns the method of the stream.
func (s *Stream) Method() *registry.Method { return s.config.Method }

// Topic returns the parts of the stream's topic. The caller must not modify them.
func (s *Stream) Topic() []string { return s.config.Topic }

// SendType returns the type of the messages that this side sends. The caller must not modify it.
func (s *Stream) SendType() *message.Type { return &s.config.SendType }

// RecvType returns the type of the messages that this side receives. The caller must not modify it.
func (s *Stream) RecvType() *message.Type { return &s.config.RecvType }

// Remote returns the name of the bus channel on which the other side receives frames.
func (s *Stream) Remote() string { return s.config.Remote.Name }

// Context returns a context that ends when the stream is closed.
func (s *Stream) Context() context.Context { return s.context }

// SetContext replaces the context of the stream. ctx must be derived from the present one.
// SetContext must be called before the stream is open.
func (s *Stream) SetContext(ctx context.Context) { s.context = ctx }

// SetChain makes received messages and the end of the stream pass through chain. It must be called
// before the stream is open.
func (s *Stream) SetChain(chain Chain) { s.chain = chain }

// DisableWindow makes Send wait for each acknowledgement. It must be called before the first Send.
func (s *Stream) DisableWindow() { s.inFlight.slots = nil }

// Hijack keeps the stream open after its handler has returned.
func (s *Stream) Hijack() { s.hijacked.Store(true) }

// Hijacked reports whether Hijack has been called.
func (s *Stream) Hijacked() bool { return s.hijacked.Load() }

// Err returns the reason why the stream was closed, or nil while it is open.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Ended returns a channel that is closed when Run has returned. All goroutines of the stream have
// then ended.
func (s *Stream) Ended() <-chan struct{} { return s.ended }

// isClosed reports whether the stream is closed. It needs no lock. When it returns true, Err
// returns an error.
func (s *Stream) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// waiting returns the number of messages that have arrived but have not been read yet.
func (s *Stream) waiting() uint64 {
	count := s.mailbox.messages.Len()
	if consumer := s.consumer.Load(); consumer != nil {
		count += (*consumer).waiting()
	}
	return uint64(count) //nolint:gosec // count is never negative
}

// onClose registers f to be called when the stream is closed. f must not block. If the stream is
// already closed, onClose returns false and f is not called.
func (s *Stream) onClose(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.onCloseFuncs = append(s.onCloseFuncs, f)
	return true
}

// CloseLocally closes the stream on this side without notifying the other side. err is what Err
// returns afterwards; it must not be nil. CloseLocally returns false if the stream was already
// closed. It never blocks.
func (s *Stream) CloseLocally(err error) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	s.err = err
	// The context is canceled before mu is unlocked. Once Err returns an error, the context has
	// therefore ended.
	s.cancel(err)
	cleanup := s.onCloseFuncs
	s.onCloseFuncs = nil
	s.mu.Unlock()

	s.inFlight.close(err)
	close(s.closed)
	s.tapEvent(tap.Close, nil, nil)
	for _, f := range cleanup {
		f()
	}
	return true
}

// tapEvent reports an event of a stream on a server. It does nothing on clients, or if no tap is
// set.
func (s *Stream) tapEvent(kind tap.Kind, message proto.Message, encoded []byte) {
	if s.config.Tap == nil {
		return
	}
	report := s.config.Tap.Load()
	if report == nil {
		return
	}
	t := tap.Traffic{
		Kind: kind, Method: s.config.Method, Topic: s.config.Topic, RequestID: s.config.ID, Message: message, Encoded: encoded,
	}
	if info, ok := transport.RequestInfoFromContext(s.context); ok {
		t.ClientID = info.ClientID
		if kind == tap.Open {
			t.Metadata = info.Metadata
		}
	}
	if kind == tap.Close {
		t.Duration = time.Since(s.started)
		if err := s.Err(); !errors.Is(err, errors.ErrStreamClosed) {
			t.Code, _ = errors.ToStreamClose(err)
		}
	}
	report(t)
}
