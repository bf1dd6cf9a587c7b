package plugin

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// closeGrace is how long the handlers whose contexts have ended may take to end, before their code is closed all the same.
const closeGrace = 5 * time.Second

// version is one version of a plugin, from before its code is loaded until its code is closed.
type version struct {
	host       *Host
	plugin     *managedPlugin
	source     *Source
	instance   Instance
	services   []*managedService
	rolledBack []*dynamic.Registration // those before a newer version that was taken back
	counter    requestCounter
	closed     chan struct{} // closed when nothing of it is running

	// These are guarded by Host.mu.
	reservedNames []string    // names, full and on the wire, that other plugins cannot have
	callCounter   CallCounter // who counts its requests; nil until it is served
	draining      bool        // its claims will be free when it is gone
	healthErr     error       // why the code does not serve for the time being
}

// managedService is one service of a version.
type managedService struct {
	Service

	name         protoreflect.FullName
	wireName     string
	registration *dynamic.Registration // nil until it is served
}

// start loads the code, and finds out what it serves.
func (v *version) start(ctx context.Context) error {
	loader := v.host.options.loaders[v.source.Loader]
	if loader == nil {
		return errors.NewErrorf(errors.NotFound, "field loader: this host has no loader %q, but %q",
			v.source.Loader, sortedNames(v.host.options.loaders))
	}
	err := guard("loader "+v.source.Loader, func() (err error) {
		v.instance, err = loader.Load(ctx, v.source, v.onHealth)
		return err
	})
	if err == nil && v.instance == nil {
		return errors.NewErrorf(errors.Internal, "loader %s returned neither code nor an error", v.source.Loader)
	}
	if err != nil {
		return errors.NewErrorf(errorCode(err), "its code cannot be loaded: %w", err)
	}
	var services []Service
	if err := guard("its code", func() error { services = v.instance.Services(); return nil }); err != nil {
		return err
	}
	if err := checkServices(v.source, services); err != nil {
		return err
	}
	if v.services, err = v.dryRun(services); err != nil {
		return errors.NewErrorf(errorCode(err), "it cannot be served: %w", err)
	}
	return nil
}

// onHealth is for the code, see [Loader].
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
	event := Event{Kind: Recovered, Plugin: v.plugin.name, Version: v.source.Version, Folder: v.source.Folder}
	if err != nil {
		event.Kind, event.Err = Degraded, err
	}
	h.events.Put(event) // never blocks
}

// serviceByWireName returns the service that has this name on the wire, or nil. A nil version has none.
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

// shutdown waits for the handlers of a version that is served no more, until ctx ends or the drain timeout has passed, and
// closes its code. It is called once.
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
		closing.Go(func() { errs[i] = closeAfterGrace(ctx, r) })
	}
	closing.Wait()
	if v.instance != nil {
		errs = append(errs, guard("its code", func() error { return v.instance.Close(ctx) })) //nolint:makezero // all have been set
	}
	v.host.unlist(v)
	return errors.Join(errs...)
}

// closeAfterGrace returns the error of a registration whose handlers did not end in time, when they have ended, or are given
// up.
func closeAfterGrace(ctx context.Context, registration *dynamic.Registration) error {
	err := registration.Close(ctx)
	if err != nil {
		late, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = registration.Close(late)
	}
	return err
}

// unlist forgets a version of which nothing is running.
func (h *Host) unlist(v *version) {
	handled, failed := v.chooseCallCounter().Counts()
	h.mu.Lock()
	defer h.mu.Unlock()
	v.plugin.handled += handled
	v.plugin.failed += failed
	delete(h.live, v)
	close(v.closed)
}

// waitDrained returns when nothing is left of the versions that were replaced.
func (h *Host) waitDrained(p *managedPlugin) {
	h.mu.Lock()
	var versions []<-chan struct{}
	for v := range h.live {
		if v.plugin == p {
			versions = append(versions, v.closed)
		}
	}
	h.mu.Unlock()
	for _, closed := range versions {
		<-closed
	}
}

// serviceNames returns the full names of the services, sorted.
func (v *version) serviceNames() []string {
	names := v.source.ServiceNames()
	for _, s := range v.services {
		names = append(names, string(s.name))
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// registerOptions are what a service is registered with.
func (v *version) registerOptions(s Service) []dynamic.RegisterOption {
	options := slices.Clone(s.Options)
	if wireName := v.source.WireNames[string(s.Descriptor.FullName())]; wireName != "" {
		options = append(options, dynamic.WithWireName(wireName))
	}
	if _, counts := v.instance.(CallCounter); !counts {
		options = append(options, v.counter.registerOptions()...)
	}
	return options
}
