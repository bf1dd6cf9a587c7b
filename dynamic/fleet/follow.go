package fleet

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// followDelay is how long a [Follower] waits for further changes before it asks the servers,
	// because the servers of a service are often replaced together.
	followDelay = 100 * time.Millisecond
	// followInterval is how often a Follower asks without having heard of a change. Changes may be
	// lost together with the link to the broker, and servers that were killed publish none.
	followInterval = time.Minute
)

// Follower keeps a registry in step with the services of a fleet; see [Fleet.Follow].
type Follower struct {
	fleet    *Fleet
	registry *registry.Registry
	changes  *ChangeStream
	logger   *slog.Logger
	cancel   context.CancelFunc
	done     sync.WaitGroup
	// followed contains the versions of the services that the Follower has registered, keyed by
	// full name. Only one goroutine at a time uses it.
	followed map[string]versionKey
}

// Follow registers the services of all servers of the bus in reg, and keeps reg up to date. It adds
// services that appear, replaces services whose descriptors change, and removes services that no
// server serves any more. If servers serve several versions of a service, the version with the most
// servers is registered. Follow does not touch services that reg already contains, and does not add
// the control services.
//
// When Follow returns, reg contains the services that are served now. The Follower goes on until
// its Close method is called, ctx ends, or the conn is closed. It logs services that it cannot
// register. Follow returns the errors of [Fleet.Changes] and [Fleet.Servers].
func (f *Fleet) Follow(ctx context.Context, reg *registry.Registry, logger *slog.Logger) (*Follower, error) {
	ctx, cancel := context.WithCancel(ctx)
	changes, err := f.Changes(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	if logger == nil {
		logger = slog.Default()
	}
	follower := &Follower{
		fleet: f, registry: reg, changes: changes, logger: logger, cancel: cancel, followed: map[string]versionKey{},
	}
	if err := follower.sync(ctx); err != nil {
		cancel()
		return nil, errors.Join(err, changes.Close())
	}
	follower.done.Go(func() { follower.run(ctx) })
	return follower, nil
}

// Close stops following. The registry keeps its services.
func (f *Follower) Close() error {
	f.cancel()
	err := f.changes.Close()
	f.done.Wait()
	return err
}

// run asks the servers again shortly after each change, and at least every followInterval.
func (f *Follower) run(ctx context.Context) {
	timer := time.NewTimer(followInterval)
	defer timer.Stop()
	for {
		select {
		case _, open := <-f.changes.Channel():
			if !open {
				return
			}
			timer.Reset(followDelay)
		case <-timer.C:
			if err := f.sync(ctx); err != nil && ctx.Err() == nil {
				f.logger.Warn("dynpsrpc: the servers of the fleet cannot be asked for their services", slog.Any("error", err))
			}
			timer.Reset(followInterval)
		}
	}
}

// sync asks the servers for their services and updates the registry.
func (f *Follower) sync(ctx context.Context) error {
	served, err := f.fleet.servedVersions(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(served)) {
		version := served[name]
		if f.followed[name] == version.key() {
			continue
		}
		if _, registered := f.registry.Service(name); registered && f.followed[name] == (versionKey{}) {
			continue
		}
		if err := f.register(ctx, &version); err != nil {
			f.logger.Warn("dynpsrpc: a service of the fleet cannot be registered",
				slog.String("service", name), slog.String("digest", version.Digest.String()), slog.Any("error", err))
		}
	}
	for name := range f.followed {
		if _, ok := served[name]; !ok {
			f.registry.Remove(protoreflect.FullName(name))
			delete(f.followed, name)
		}
	}
	return nil
}

// register adds a version of a service to the registry. It replaces the previous version, if there
// is one.
func (f *Follower) register(ctx context.Context, version *Version) error {
	source, err := f.fleet.registries.load(ctx, f.fleet, version)
	if err != nil {
		return err
	}
	service, err := source.FindService(version.Name)
	if err != nil {
		return err
	}
	if _, err := f.registry.Replace(service.Descriptor(), registry.WithWireName(version.WireName)); err != nil {
		return err
	}
	f.followed[version.Name] = version.key()
	return nil
}

// servedVersions returns, for each service, the version that most servers serve. The keys are the
// full names of the services.
func (f *Fleet) servedVersions(ctx context.Context) (map[string]Version, error) {
	servers := map[versionKey]int{}
	for server, err := range f.Servers(ctx, Parts(PartServices)) {
		if server == nil {
			return nil, err
		}
		for _, s := range server.Services {
			servers[versionKey{s.Digest, s.Name, s.WireName}]++
		}
	}
	served := map[string]Version{}
	most := map[string]int{}
	for _, key := range slices.SortedFunc(maps.Keys(servers), versionKey.compare) {
		if servers[key] > most[key.name] && key.name != fleetServiceName && key.name != adminServiceName {
			most[key.name] = servers[key]
			served[key.name] = Version{Digest: key.digest, Name: key.name, WireName: key.wireName}
		}
	}
	return served, nil
}

// compare orders versions, so that of two versions with the same number of servers always the same
// one is chosen.
func (k versionKey) compare(other versionKey) int {
	return cmp.Or(cmp.Compare(k.name, other.name), cmp.Compare(k.digest.String(), other.digest.String()),
		cmp.Compare(k.wireName, other.wireName))
}
