package fleet

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

const (
	// maxQuestions is the maximum number of questions that a server answers at the same time.
	maxQuestions = 64
	// closeTimeout limits how long Close waits for answers that are being sent and for the bus.
	closeTimeout = time.Second
)

// Serve lets a server answer questions about its services and its state, until the server stops or
// Close is called on the result. The answers contain both the services that the server already has
// and those that are registered later. Serve serves the control service on the bus of the server
// and counts the server's calls from now on. The server sends messages only when it is asked or
// something changes. The server's Shutdown and Kill call Close, so they may take two seconds longer
// if the bus does not answer.
//
// Serve returns an error with code invalid_argument if server is nil or an option is invalid. The
// code is already_exists if the server has a recorder; see [dynamic.Server.Record]. For example,
// the result of an earlier call to Serve may not have been closed. If the bus does not accept the
// subscriptions, the error has the code of the bus's error. If the server has been stopped, the
// error is errors.ErrServerClosed.
func Serve(server *dynamic.Server, opts ...ServeOption) (*Status, error) {
	if server == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "fleet.Serve: the server is nil")
	}
	s := &Status{
		server: server, options: newServeOptions(opts), started: time.Now(), stateSince: time.Now(),
		changes: lifecycle.NewEventQueue[queuedChange](),
	}
	if err := errors.Join(s.options.problems...); err != nil {
		return nil, err
	}
	s.counters.server, s.counters.changed = server, s.serverChanged
	s.watches.server = server
	s.health = newHealth(s.options.checks, s.options.errorTexts, s.healthChanged)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.control = dynamic.NewServer(server.Bus(), dynamic.WithServerID(server.ID()),
		dynamic.WithLogger(server.Logger()), dynamic.WithMaxConcurrentRequests(maxQuestions),
		dynamic.WithMaxStreams(maxTapStreams))
	stop, err := server.Record(&s.counters)
	if err != nil {
		return nil, errors.NewErrorf(errors.AlreadyExists, "fleet.Serve: %w", err)
	}
	if err := s.open(); err != nil {
		stop()
		s.cancel()
		s.control.Kill()
		return nil, err
	}
	if !s.start(stop) {
		stop()
		return nil, errors.ErrServerClosed
	}
	return s, nil
}

// open registers the control service.
func (s *Status) open() error {
	handlers := dynamic.Handlers{
		queryMethod:    unaryHandler(s.query),
		describeMethod: unaryHandler(s.describe),
	}
	if s.options.tap != nil {
		handlers[tapMethod] = s.tapHandler()
	}
	registration, err := s.control.Register(fleetService(), handlers, dynamic.AllowMissing())
	if err != nil {
		return err
	}
	s.registration.Store(registration)
	s.scopes.registration = registration
	if err := s.updateScopes(); err != nil {
		return err
	}
	return s.openPermitted(registration)
}

// openPermitted makes the server accept taps and changes, if the program permits them.
func (s *Status) openPermitted(registration *dynamic.Registration) error {
	if s.options.tap != nil {
		if err := registration.RegisterTopic(tapMethod, s.server.ID()); err != nil {
			return err
		}
	}
	if s.options.admin == nil {
		return nil
	}
	handlers := s.adminHandlers()
	admin, err := s.control.Register(adminService(), handlers)
	if err != nil {
		return err
	}
	for method := range handlers {
		if err := admin.RegisterTopic(method, s.server.ID()); err != nil {
			return err
		}
	}
	return nil
}

// start starts the goroutines of s. It returns false if the server has been stopped. stopRecording
// ends the recording of calls.
func (s *Status) start(stopRecording func()) bool {
	select {
	case <-s.server.Done():
		_ = s.Close() // The server is gone, whether this succeeds or not.
		return false
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.stopRecording = stopRecording
	s.running.Go(s.work)
	for _, c := range s.health.checks {
		s.running.Go(func() { s.health.runCheck(s.ctx, c) })
	}
	s.change(Change{Kind: ChangeStarted}, nil)
	return true
}

// serverChanged is called when the server has changed. It must return soon, because methods such as
// Register and Shutdown wait for it.
func (s *Status) serverChanged(change dynamic.ServerChange) {
	defer s.state() // If the state of the server has changed, this stores the time.
	switch change.Kind {
	case dynamic.ServiceAdded:
		s.serviceChanged(ChangeServiceAdded, change)
	case dynamic.ServiceReplaced:
		s.serviceChanged(ChangeReplaced, change)
	case dynamic.ServiceRemoved:
		s.counters.prune()
		s.serviceChanged(ChangeServiceRemoved, change)
	case dynamic.ServerDraining:
		s.change(Change{Kind: ChangeDraining}, nil)
	case dynamic.ServerResumed:
		s.change(Change{Kind: ChangeResumed}, nil)
	case dynamic.ServerClosing:
		s.shuttingDown.Store(true)
		s.publish(Change{Kind: ChangeDraining})
	case dynamic.ServerStopped:
		// Close the Status now, because the program may close the bus as soon as Shutdown has
		// returned.
		if err := s.Close(); err != nil {
			s.server.Logger().Warn("dynpsrpc: cannot close the control service", slog.Any("error", err))
		}
	}
}

// serviceChanged adds a change of a service to the queue. During a shutdown of the server, it adds
// none: the change ChangeDraining already announces that all services end.
func (s *Status) serviceChanged(kind ChangeKind, change dynamic.ServerChange) {
	s.listeners.notify()
	if !s.shuttingDown.Load() {
		s.change(Change{Kind: kind, Service: string(change.Service.Name())}, change.Service)
	}
}

// Close makes the server stop answering questions about itself and counting its calls. It does not
// stop the server. When the server stops, Close is called automatically. Close waits for at most a
// second or two. Further calls return the same error as the first one.
func (s *Status) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.cancel()
		if s.stopRecording != nil {
			s.stopRecording()
		}
		s.mu.Unlock()
		s.listeners.close()
		s.publish(Change{Kind: ChangeStopped})
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.closeErr = s.control.Shutdown(ctx)
		s.waitFor(ctx)
	})
	return s.closeErr
}

// waitFor waits for the goroutines of s until ctx ends. A health check that does not return is
// abandoned.
func (s *Status) waitFor(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
