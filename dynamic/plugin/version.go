package plugin

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

// closeGrace is how long handlers may take to return after their contexts have ended. After that
// time, the plugin's code is stopped even if handlers are still running.
const closeGrace = 5 * time.Second

// onHealth records the health of the plugin's code: err is the reason why the code does not serve,
// or nil. The loader calls onHealth (see [Loader.Load]). While the version is being served,
// onHealth emits an event for each error, and another one when the code has recovered.
func (v *version) onHealth(err error) {
	h := v.host
	h.mu.Lock()
	defer h.mu.Unlock()
	recovered := v.healthErr != nil && err == nil
	v.healthErr = err
	if v.plugin.current != v || v.draining || (err == nil && !recovered) {
		return
	}
	v.plugin.updateStateLocked()
	event := v.event(Recovered, nil)
	if err != nil {
		event = v.event(Degraded, err)
	}
	h.events.Put(event) // Put never blocks, so h.mu may be held here
}

// event returns an event of the given kind about v.
func (v *version) event(kind EventKind, err error) Event {
	return Event{Kind: kind, Plugin: v.plugin.name, Version: v.source.Version, Folder: v.source.Folder, Err: err}
}

// shutdown closes the registrations of a version, waits for their handlers, and then stops the
// code. When ctx ends or the drain timeout expires, shutdown cancels the contexts of the handlers.
// It then waits for the handlers for at most closeGrace. shutdown must be called only once.
func (v *version) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, v.host.options.drainTimeout)
	defer cancel()
	detach := context.AfterFunc(v.host.drainCtx, cancel)
	defer detach()

	registrations := v.rolledBack
	for _, s := range v.services {
		if s.registration != nil {
			registrations = append(registrations, s.registration)
		}
	}
	errs := make([]error, len(registrations))
	var closing sync.WaitGroup
	for i, r := range registrations {
		closing.Go(func() { errs[i] = closeWithGrace(ctx, r) })
	}
	closing.Wait()
	if v.instance != nil {
		errs = append(errs, guard.Call("Close of the code", //nolint:makezero // all elements are set
			func() error { return v.instance.Close(ctx) }))
	}
	v.unlist()
	return errors.Join(errs...)
}

// unlist removes the closed version from its host and adds the version's request counts to the
// totals of its plugin.
func (v *version) unlist() {
	h := v.host
	handled, failed := v.chooseCallCounter().Counts()
	h.mu.Lock()
	defer h.mu.Unlock()
	v.plugin.handled += handled
	v.plugin.failed += failed
	delete(h.live, v)
	close(v.closed)
}

// closeWithGrace closes a registration and waits for its handlers. If ctx ends before the handlers
// have returned, closeWithGrace waits for at most closeGrace longer. In that case it always returns
// an error, even if the handlers have returned in the meantime.
func closeWithGrace(ctx context.Context, registration *dynamic.Registration) error {
	err := registration.Close(ctx)
	if err != nil {
		grace, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = registration.Close(grace)
	}
	return err
}

// serviceNames returns the sorted full names of the services that are listed in the plugin's folder
// or provided by its code.
func (v *version) serviceNames() []string {
	names := v.source.ServiceNames()
	for _, s := range v.services {
		names = append(names, string(s.name))
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// chooseCallCounter returns v.instance if that counts its own requests, and v.counter otherwise.
func (v *version) chooseCallCounter() CallCounter {
	if c, ok := v.instance.(CallCounter); ok {
		return c
	}
	return &v.counter
}

// registerOptions returns the options for registering s. These are the options set by the plugin's
// code and the wire name from the manifest. If the code does not count its own requests, they
// include interceptors that count requests.
func (v *version) registerOptions(s Service) []dynamic.ServiceOption {
	options := slices.Clone(s.Options)
	if wireName := v.source.WireNames[string(s.Descriptor.FullName())]; wireName != "" {
		options = append(options, dynamic.WithWireName(wireName))
	}
	if _, counts := v.instance.(CallCounter); !counts {
		options = append(options, v.counter.registerOptions()...)
	}
	return options
}
