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
	// followDelay is how long a [Follower] waits after a change before it asks the servers. The
	// servers of a service are often replaced together, so one question then covers all of them.
	followDelay = 100 * time.Millisecond
	// followAgain is how long a Follower waits before it asks again after a service was missing
	// from the answers.
	followAgain = 500 * time.Millisecond
	// followInterval is how often a Follower asks the servers even if it receives no change.
	// Changes may be lost if the connection to the broker fails, and killed servers publish none.
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
	// followed contains the versions of the services that the Follower has registered. missing
	// contains those services that were missing from the latest answers. The keys are full names.
	// Only one goroutine at a time uses the maps.
	followed map[string]versionKey
	missing  map[string]bool
}

// Follow registers the services of all servers of the bus in reg, and keeps reg up to date. It adds
// services that appear, replaces services whose descriptors change, and removes services that no
// server serves any more. If servers serve several versions of a service, the version with the most
// servers is registered. Follow does not touch services that reg already contains, and does not add
// the control services.
//
// When Follow returns, reg contains the services that are served now. Later changes arrive within a
// few seconds, or within a minute if a server was killed or its [Change] was lost. A service is
// removed only if it is missing from the answers twice in a row, because an answer may be late or
// lost.
//
// The Follower runs until its Close method is called, ctx ends, or the conn or its bus is closed.
// It logs services that it cannot register. If logger is nil, slog.Default is used. Follow returns
// the errors of [Fleet.Changes] and [Fleet.Servers].
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
		fleet: f, registry: reg, changes: changes, logger: logger, cancel: cancel,
		followed: map[string]versionKey{}, missing: map[string]bool{},
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

// run asks the servers again shortly after each change, except for changes of health, and at least
// every followInterval.
func (f *Follower) run(ctx context.Context) {
	timer := time.NewTimer(followInterval)
	defer timer.Stop()
	// Only the first change after a question sets the timer. A fleet that changes all the time
	// would otherwise never be asked.
	isSet := false
	for {
		select {
		case change, open := <-f.changes.Channel():
			if !open {
				return
			}
			if !isSet && change.Kind != ChangeHealth {
				timer.Reset(followDelay)
				isSet = true
			}
		case <-timer.C:
			isSet = false
			if err := f.sync(ctx); err != nil && ctx.Err() == nil {
				f.logger.Warn("dynpsrpc: the servers of the fleet cannot be asked for their services", slog.Any("error", err))
			}
			if len(f.missing) > 0 {
				timer.Reset(followAgain)
			} else {
				timer.Reset(followInterval)
			}
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
	f.removeMissing(served)
	return nil
}

// removeMissing removes from the registry the services that are missing from served and were also
// missing from the previous answers.
func (f *Follower) removeMissing(served map[string]Version) {
	missing := map[string]bool{}
	for name := range f.followed {
		if _, ok := served[name]; ok {
			continue
		}
		if !f.missing[name] {
			missing[name] = true
			continue
		}
		f.registry.Remove(protoreflect.FullName(name))
		delete(f.followed, name)
	}
	f.missing = missing
}

// register adds a version of a service to the registry. It replaces the previous version, if there
// is one.
func (f *Follower) register(ctx context.Context, version *Version) error {
	source, err := f.fleet.registryOf(ctx, version)
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
		if servers[key] > most[key.name] && !key.isControl() {
			most[key.name] = servers[key]
			served[key.name] = Version{Digest: key.digest, Name: key.name, WireName: key.wireName}
		}
	}
	return served, nil
}

// isControl reports whether a version belongs to a control service, even under another full name.
// Without the check of the wire name, a faulty server could make a gateway offer a control service
// to its clients.
func (k versionKey) isControl() bool {
	return k.name == fleetServiceName || k.name == adminServiceName || IsControlService(k.wireName)
}

// compare orders versions. The order decides between versions with the same number of servers, so
// that repeated questions choose the same version.
func (k versionKey) compare(other versionKey) int {
	return cmp.Or(cmp.Compare(k.name, other.name), cmp.Compare(k.digest.String(), other.digest.String()),
		cmp.Compare(k.wireName, other.wireName))
}
