package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// replace loads source as a new version of p and starts serving it. If replace cannot serve all
// services of the new version, it returns an error and the previous version keeps serving.
func (h *Host) replace(ctx context.Context, p *managedPlugin, source *Source) error {
	if len(source.grpcServices) > 0 {
		h.options.logger.Info("dynpsrpc: plugin "+source.Name+" has descriptors of gRPC services, which are left out",
			slog.Any("services", source.grpcServices))
	}
	v := &version{host: h, plugin: p, source: source, closed: make(chan struct{})}
	previous := h.addVersion(v)

	err := v.start(ctx)
	if err == nil {
		err = v.swap(previous)
	}
	if err != nil {
		return errors.Join(err, v.shutdown(ctx))
	}
	h.commit(previous, v)
	return nil
}

// addVersion adds v to h.live. It returns the version of the plugin that is currently being served,
// or nil if there is none.
func (h *Host) addVersion(v *version) (previous *version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[v] = struct{}{}
	return v.plugin.current
}

// namesToReserve returns the full names and wire names of the services that are listed in the
// plugin's folder. Once the code has been loaded, it also returns those of the code's services.
// Each of these names may be used by only one plugin at a time.
func (v *version) namesToReserve() []string {
	names := v.source.ServiceNames()
	for _, s := range v.source.Services {
		names = append(names, s.WireName())
	}
	for _, s := range v.services {
		names = append(names, string(s.name), s.wireName)
	}
	return names
}

// reserve reserves service names for v. They replace the names that v reserved earlier. If another
// version has reserved one of them, reserve returns an error, unless that version is being drained.
// In that case, reserve waits until the version is closed, at most for the drain timeout plus the
// grace periods for handlers and code.
func (v *version) reserve(ctx context.Context, names []string) error {
	h := v.host
	ctx, cancel := context.WithTimeout(ctx, h.options.drainTimeout+2*closeGrace)
	defer cancel()
	for {
		h.mu.Lock()
		name, owner := v.nameOwnerLocked(names)
		if owner == nil {
			v.reservedNames = names
			h.mu.Unlock()
			return nil
		}
		draining, plugin := owner.draining, owner.plugin.name
		h.mu.Unlock()
		if !draining {
			return errors.NewErrorf(errors.AlreadyExists,
				"service %s is served by plugin %s: unload that plugin, or set another wire name in the field wire_names",
				name, plugin)
		}
		select {
		case <-owner.closed:
		case <-ctx.Done():
			return errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
				"waiting for plugin %s to drain service %s: %w", plugin, name, ctx.Err())
		}
	}
}

// nameOwnerLocked returns a name that another version has reserved, and that version. It ignores
// the version that v is about to replace. If all names are free, owner is nil. The caller must hold
// Host.mu.
func (v *version) nameOwnerLocked(names []string) (name string, owner *version) {
	for other := range v.host.live {
		if other == v || other == v.plugin.current {
			continue
		}
		for _, name := range names {
			if slices.Contains(other.reservedNames, name) {
				return name, other
			}
		}
	}
	return "", nil
}

// start loads the plugin's code and checks the services that it provides. The services are not
// served yet.
func (v *version) start(ctx context.Context) error {
	if err := v.reserve(ctx, v.namesToReserve()); err != nil {
		return err
	}
	loader := v.host.options.loaders[v.source.Loader]
	if loader == nil {
		return errors.NewErrorf(errors.NotFound, "field loader: the host has no loader %q; it has %q",
			v.source.Loader, slices.Sorted(maps.Keys(v.host.options.loaders)))
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
	// A Go plugin need not list its services in the manifest, so their names are known only now.
	return v.reserve(ctx, v.namesToReserve())
}

// checkServices compares the services that a plugin's code provides with the manifest and the
// descriptors. It returns all differences as one error. If services is empty, checkServices returns
// nil. The code then has its own connection to the bus, and the loader has already checked what the
// code serves.
func checkServices(source *Source, services []Service) error {
	if len(services) == 0 {
		return nil
	}
	wanted := source.ServiceNames()
	var problems []error
	given := map[protoreflect.FullName]bool{}
	for i, s := range services {
		if s.Descriptor == nil {
			problems = append(problems, invalid("service %d of the code has no descriptor", i+1))
			continue
		}
		name := s.Descriptor.FullName()
		given[name] = true
		if i := slices.IndexFunc(source.Services, func(s *registry.Service) bool { return s.Name() == name }); i >= 0 {
			problems = append(problems, compareService(source.Services[i], s.Descriptor))
		} else if len(wanted) > 0 && !slices.Contains(wanted, string(name)) {
			problems = append(problems, invalid("the code serves %s, which is not a service of the manifest", name))
		}
	}
	for _, name := range wanted {
		if !given[protoreflect.FullName(name)] {
			problems = append(problems, invalid("the code does not serve %s, a service of the manifest", name))
		}
	}
	return errors.Join(problems...)
}

// compareService compares the methods of a service in the code with those in the plugin's
// descriptors. It compares message types only by their names.
func compareService(wanted *registry.Service, descriptor protoreflect.ServiceDescriptor) error {
	given, err := registry.NewService(descriptor)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "service %s of the code: %w", descriptor.FullName(), err)
	}
	var problems []error
	for _, method := range given.Methods() {
		if _, ok := wanted.Method(method.Name()); !ok {
			problems = append(problems, invalid("the code serves %s, which is not in the descriptors", method.FullName()))
		}
	}
	for _, method := range wanted.Methods() {
		other, ok := given.Method(method.Name())
		if !ok {
			problems = append(problems, invalid("the code does not serve %s, which is in the descriptors", method.FullName()))
		} else if inCode, inDescriptors := signature(other), signature(method); inCode != inDescriptors {
			problems = append(problems, invalid("method %s is %s in the code, but %s in the descriptors",
				method.FullName(), inCode, inDescriptors))
		}
	}
	return errors.Join(problems...)
}

// signature describes the properties of a method on which clients and servers must agree.
func signature(m *registry.Method) string {
	return fmt.Sprintf("(%s) returns (%s), %s with %s routing, topics %t",
		m.Input().FullName(), m.Output().FullName(), m.Kind(), m.Routing(), m.Topics())
}

// dryRun registers the services with a server on a private in-process bus. Invalid services are
// thus found before any service is served. dryRun returns the services with their wire names.
func (v *version) dryRun(services []Service) ([]*managedService, error) {
	local := bus.NewLocal()
	defer local.Close() //nolint:errcheck // no frames are in flight
	server := dynamic.NewServer(local, dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	defer server.Kill()
	all := make([]*managedService, 0, len(services))
	var problems []error
	for _, service := range services {
		registration, err := server.Register(service.Descriptor, service.Handlers, v.registerOptions(service)...)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s := registration.Service()
		all = append(all, &managedService{Service: service, name: s.Name(), wireName: s.WireName()})
	}
	return all, errors.Join(problems...)
}
