package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Status lets a server answer questions about itself and publish its changes. [Serve] returns it.
// All methods are safe for concurrent use.
type Status struct {
	server  *dynamic.Server
	options serveOptions
	started time.Time
	// control is the server of the control service. It has the same ID and bus as server, but is a
	// server of its own. It therefore answers even while server drains, shuts down or has reached a
	// limit. The program's interceptors do not see its requests.
	control *dynamic.Server
	// registration is the control service. It is nil until control serves it.
	registration atomic.Pointer[dynamic.Registration]
	counters     counters
	services     serviceTable
	health       *health
	// scopes contains the topics of the control service that are registered. Serve uses it first,
	// and then only the goroutine that runs the method work.
	scopes scopes
	// watches contains the clients that watch the server.
	watches watches
	// listeners contains the channels that are notified when services change.
	listeners listeners
	// changes contains the changes to publish.
	changes lifecycle.EventQueue[queuedChange]
	// retrying reports whether a timer is running that will register the scopes again.
	retrying atomic.Bool
	// shuttingDown reports whether the shutdown of server has begun; the state is then draining.
	shuttingDown atomic.Bool
	// lastState is the latest result of the method state. stateSince is the time when that result
	// last changed. mu guards both.
	lastState  State
	stateSince time.Time

	// stopRecording ends the recording of calls. It is nil until Serve has succeeded.
	stopRecording func()
	// ctx ends when Close is called. It ends the health checks and the goroutine that runs the
	// method work. mu is held while they are started and while ctx is canceled.
	ctx       context.Context //nolint:containedctx // it has the lifetime of the Status
	cancel    context.CancelFunc
	mu        sync.Mutex
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// queuedChange is a change that waits to be published. service is the service that was added,
// removed or replaced. Otherwise, it is nil.
type queuedChange struct {
	Change

	service *registry.Service
}

// SetServing sets the health of a service, or of the whole server if service is empty. service is
// the full name of the service, such as "my.pkg.MyService". The health is only reported: the server
// accepts requests as before.
func (s *Status) SetServing(service string, serving bool) { s.health.setServing(service, serving) }

// NotifyServices returns a channel that receives a value when services of the server have been
// added, removed or replaced. Several changes in quick succession may result in one value. The
// channel is closed when the Status is closed. The caller must call stop when it no longer needs
// the channel.
func (s *Status) NotifyServices() (changed <-chan struct{}, stop func()) { return s.listeners.add() }

// authorize returns an error if the client may not make requests of the kind verb. ctx is the
// context of the client's request.
func (s *Status) authorize(ctx context.Context, verb Verb) error {
	if s.options.authorize == nil {
		return nil
	}
	return s.options.authorize(ctx, verb)
}

// state returns the state of the server and the time of its last change.
func (s *Status) state() (state State, since time.Time) {
	switch {
	case s.shuttingDown.Load() || s.server.Drained():
		state = StateDraining
	case len(s.server.Services()) == 0:
		state = StateStarting
	default:
		state = StateServing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != s.lastState {
		s.lastState, s.stateSince = state, time.Now()
	}
	return state, s.stateSince
}
