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

// closeGrace is the time that handlers have to return after their contexts have ended. Then the
// code of their version is closed even if they are still running.
const closeGrace = 5 * time.Second

// version is one version of a plugin, from the beginning of its load until its code is closed.
type version struct {
	host     *Host
	plugin   *managedPlugin
	source   *Source
	instance Instance
	services []*managedService
	// rolledBack contains registrations that rollback has replaced, but whose handlers may still
	// be running.
	rolledBack []*dynamic.Registration
	counter    requestCounter
	// closed is closed when none of the version's code is running.
	closed chan struct{}

	// The fields below are guarded by Host.mu.

	// reservedNames contains full names and wire names that other plugins cannot use.
	reservedNames []string
	// callCounter counts the requests of the version. It is nil until the version is served.
	callCounter CallCounter
	// draining is true when the version will be closed soon and free its reserved names.
	draining bool
	// healthErr is the last error that the code has reported, or nil while it is healthy.
	healthErr error
}

// start loads the code and checks what it serves. It serves nothing yet.
func (v *version) start(ctx context.Context) error {
	loader := v.host.options.loaders[v.source.Loader]
	if loader == nil {
		return errors.NewErrorf(errors.NotFound, "field loader: the host has no loader %q; it has %q",
			v.source.Loader, sortedNames(v.host.options.loaders))
	}
	err := guard.Call("loader "+v.source.Loader, func() (err error) {
		v.instance, err = loader.Load(ctx, v.source, v.onHealth)
		return err
	})
	if err == nil && v.instance == nil {
		return errors.NewErrorf(errors.Internal, "loader %s returned neither an instance nor an error", v.source.Loader)
	}
	if err != nil {
		return errors.NewErrorf(errorCode(err), "cannot load the code: %w", err)
	}
	var services []Service
	if err := guard.Call("Services of the code", func() error { services = v.instance.Services(); return nil }); err != nil {
		return err
	}
	if err := checkServices(v.source, services); err != nil {
		return err
	}
	if v.services, err = v.dryRun(services); err != nil {
		return errors.NewErrorf(errorCode(err), "cannot register the services: %w", err)
	}
	return nil
}

// onHealth records what the code reports about itself, see [Loader]. It emits an event if the
// version is the one that is served.
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
	h.events.Put(event) // never blocks, so holding mu is fine
}

// event returns an event about the version.
func (v *version) event(kind EventKind, err error) Event {
	return Event{Kind: kind, Plugin: v.plugin.name, Version: v.source.Version, Folder: v.source.Folder, Err: err}
}

// shutdown closes the registrations of a version, which waits for their handlers, and then closes
// its code. When ctx ends or the drain timeout expires, the handlers' contexts end, and the
// handlers have closeGrace to return. shutdown must be called once.
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
	v.host.unlist(v)
	return errors.Join(errs...)
}

// closeWithGrace closes a registration. If ctx ends before the handlers have returned, it waits for
// them for closeGrace more, and returns the error in any case.
func closeWithGrace(ctx context.Context, registration *dynamic.Registration) error {
	err := registration.Close(ctx)
	if err != nil {
		grace, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = registration.Close(grace)
	}
	return err
}

// namesToReserve returns the full names and wire names of the services in the source and in the
// code. Only one plugin at a time can use a name.
func (v *version) namesToReserve() []string {
	names := v.source.namesToReserve()
	for _, s := range v.services {
		names = append(names, string(s.name), s.wireName)
	}
	return names
}

// serviceNames returns the full names of the services, sorted.
func (v *version) serviceNames() []string {
	names := v.source.ServiceNames()
	for _, s := range v.services {
		names = append(names, string(s.name))
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// serviceByWireName returns the service with that wire name, or nil. A nil version has no services.
func (v *version) serviceByWireName(wireName string) *managedService {
	if v == nil {
		return nil
	}
	for _, s := range v.services {
		if s.wireName == wireName {
			return s
		}
	}
	return nil
}

// chooseCallCounter returns the code if it implements CallCounter, or else the host's counter.
func (v *version) chooseCallCounter() CallCounter {
	if c, ok := v.instance.(CallCounter); ok {
		return c
	}
	return &v.counter
}
