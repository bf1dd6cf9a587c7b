package doctor

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// part is a part of the facts that can be asked for on its own. A check names the parts that it
// needs.
type part string

const (
	partBroker      part = "the broker's facts"
	partServers     part = "the servers' answers"
	partChannels    part = "the broker's channels"
	partConnections part = "the broker's connections"
	// A check that uses one of the following parts also runs without it, but finds less.
	partTopics      part = "topics"
	partDescriptors part = "descriptors"
	partVariants    part = "other ways to use the broker"
)

const (
	// maxVersions is the maximum number of versions, of all services together, whose descriptors
	// are compared.
	maxVersions = 64
	// maxPrefixes is the maximum number of other prefixes whose fleets are asked.
	maxPrefixes = 8
)

// facts contains the answers of the broker and the servers.
type facts struct {
	// info and servers are the first answers. laterInfo and later are the second ones, which came
	// after window. If askedTwice is false, they equal the first answers.
	info, laterInfo bus.Info
	servers, later  []*fleet.Server
	askedTwice      bool
	window          time.Duration
	// wait is the option for questions that sets how long they wait for servers.
	wait fleet.QueryOption
	// refused contains the errors of servers that have refused to answer, by server ID.
	refused map[string]error
	// peers combines the answers of the servers with the channels of the broker. connections are
	// the broker's client connections.
	peers       *fleet.Peers
	connections []bus.Peer
	// variants are the other fleets on the same broker that have been asked; see Target.Variants.
	variants []variant
	// topics contains the topics of each method that must have a single server for each topic.
	topics map[methodKey][]string
	// descriptors contains the versions of each service that is served in more than one version.
	// Versions that could not be read are missing.
	descriptors map[fleet.Digest]*registry.Service
	// unknown contains the error for each part of the facts that is missing.
	unknown map[part]error
}

// variant is a [Variant] with the servers that have answered.
type variant struct {
	name     string
	isPrefix bool
	servers  []*fleet.Server
}

// gather asks the broker and the servers for the wanted parts.
func gather(ctx context.Context, target Target, options Options, wanted map[part]bool) (*facts, error) {
	window := options.Window
	f := &facts{
		window:      window,
		wait:        fleet.Wait(options.Wait),
		peers:       &fleet.Peers{Silent: bus.Unknown},
		refused:     make(map[string]error),
		topics:      make(map[methodKey][]string),
		descriptors: make(map[fleet.Digest]*registry.Service),
		unknown:     make(map[part]error),
	}
	f.info = f.askBroker(ctx, target.Bus)
	if err := f.unknown[partBroker]; err != nil { // nothing else can be asked without the broker
		f.note(partServers, err)
		f.note(partChannels, err)
		f.note(partConnections, err)
		return f, ctx.Err()
	}
	f.askOnce(ctx, target, wanted)
	f.later, f.laterInfo = f.servers, f.info
	if window > 0 && f.unknown[partServers] == nil {
		select {
		case <-time.After(window):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		f.laterInfo = f.askBroker(ctx, target.Bus)
		if wanted[partServers] {
			f.later = f.askServers(ctx, target.Fleet)
		}
		f.askedTwice = f.unknown[partServers] == nil && f.unknown[partBroker] == nil
	}
	return f, ctx.Err()
}

// askOnce asks for the parts for which one answer suffices, and for the first answers of the
// servers.
func (f *facts) askOnce(ctx context.Context, target Target, wanted map[part]bool) {
	if wanted[partConnections] {
		f.askConnections(ctx, target.Bus)
	}
	if wanted[partChannels] {
		f.askPeers(ctx, target)
	}
	if wanted[partServers] {
		f.servers = f.askServers(ctx, target.Fleet)
	}
	if wanted[partTopics] {
		f.askTopics(ctx, target.Fleet)
	}
	if wanted[partDescriptors] {
		f.askDescriptors(ctx, target.Fleet)
	}
	if wanted[partVariants] {
		f.askVariants(ctx, target)
	}
}

// askBroker asks the broker for facts about it.
func (f *facts) askBroker(ctx context.Context, b bus.Bus) bus.Info {
	informed, ok := b.(bus.Informed)
	if !ok {
		return bus.Info{}
	}
	info, err := informed.Info(ctx)
	f.note(partBroker, err)
	return info
}

// note stores the error that explains why a part is missing.
func (f *facts) note(p part, err error) {
	if err != nil && f.unknown[p] == nil {
		f.unknown[p] = err
	}
}

// askConnections asks the broker for its client connections.
func (f *facts) askConnections(ctx context.Context, b bus.Bus) {
	inspector, ok := b.(bus.Inspector)
	if !ok {
		f.note(partConnections, errors.NewErrorf(errors.Unimplemented, "this bus does not tell"))
		return
	}
	var err error
	f.connections, err = inspector.Peers(ctx)
	f.note(partConnections, err)
}

// askPeers asks the servers what they serve, and the broker which channels have receivers.
func (f *facts) askPeers(ctx context.Context, target Target) {
	peers, err := target.Fleet.Peers(ctx, fleet.Scan(), fleet.PeersQuery(f.wait))
	if err == nil && isSilent(peers) {
		// A server that has just started or stopped looks silent for a moment, so ask once more.
		peers, err = target.Fleet.Peers(ctx, fleet.Scan(), fleet.PeersQuery(f.wait))
	}
	if err != nil {
		f.note(partChannels, err)
		return
	}
	f.peers = peers
	f.note(partChannels, peers.ScanErr)
}

// askServers asks all servers and returns their answers, sorted by ID.
func (f *facts) askServers(ctx context.Context, asked *fleet.Fleet) []*fleet.Server {
	var servers []*fleet.Server
	for server, err := range asked.Servers(ctx, f.wait, fleet.Parts(fleet.PartStats, fleet.PartHealth, fleet.PartBus)) {
		switch {
		case server == nil:
			f.note(partServers, err)
		case err != nil:
			f.refused[server.ID] = err
		default:
			servers = append(servers, server)
		}
	}
	slices.SortFunc(servers, func(a, b *fleet.Server) int { return strings.Compare(a.ID, b.ID) })
	return servers
}

// hasSingleServer reports whether a method may have only one server for each topic. The servers of
// such a method do not claim requests, so with two servers, each request would run twice.
func hasSingleServer(method fleet.Method) bool {
	return !method.RequireClaim && method.Routing != registry.RoutingMulti
}

// askTopics asks the servers for the topics of methods that may have only one server for each
// topic. A server reports at most maxTopics topics of a method. The topics beyond that are not
// compared.
func (f *facts) askTopics(ctx context.Context, asked *fleet.Fleet) {
	servers := make(map[string]map[string]bool) // the IDs of servers with topics, by service
	for m := range methodsOf(f.servers) {
		if !hasSingleServer(m.method) || m.method.TopicCount == 0 {
			continue
		}
		if servers[m.service.WireName] == nil {
			servers[m.service.WireName] = make(map[string]bool)
		}
		servers[m.service.WireName][m.server.ID] = true
	}
	for wireName, ids := range servers {
		if len(ids) < 2 {
			continue // a single server cannot share a topic with another one
		}
		var answers []*fleet.Server
		for server, err := range asked.Servers(ctx, f.wait, fleet.OfService(wireName), fleet.Services(wireName),
			fleet.Parts(fleet.PartTopics), fleet.MaxTopics(maxTopics)) {
			if err == nil { // without this answer, the check uses those of the other servers
				answers = append(answers, server)
			}
		}
		for m := range methodsOf(answers) {
			if hasSingleServer(m.method) {
				f.topics[m.key()] = m.method.Topics
			}
		}
	}
}

// maxTopics is how many topics of a method each server is asked for.
const maxTopics = 1000

// askDescriptors reads the descriptors of services that are served in several versions.
func (f *facts) askDescriptors(ctx context.Context, asked *fleet.Fleet) {
	for wireName, versions := range versionsOf(f.servers) {
		if len(versions) < 2 {
			continue
		}
		for _, v := range versions {
			if len(f.descriptors) >= maxVersions || f.descriptors[v.digest] != nil {
				continue
			}
			files, err := asked.Describe(ctx, v.digest)
			if err != nil {
				continue // the check reports that the version could not be read
			}
			reg := registry.New(registry.WithWireNames(map[string]string{v.name: wireName}))
			if reg.RegisterDescriptorSet(files) != nil {
				continue
			}
			if service, ok := reg.Service(v.name); ok {
				f.descriptors[v.digest] = service
			}
		}
	}
}

// askVariants asks the servers of the fleets that [Target.Variants] yields.
func (f *facts) askVariants(ctx context.Context, target Target) {
	if target.Variants == nil {
		return
	}
	for other := range target.Variants(ctx, f.info, f.prefixes(ctx, target.Bus)) {
		servers := make([]*fleet.Server, 0, 1)
		for server, err := range other.Fleet.Servers(ctx, f.wait) {
			if err == nil {
				servers = append(servers, server)
			}
		}
		f.variants = append(f.variants, variant{name: other.Name, isPrefix: other.IsPrefix, servers: servers})
	}
}

// prefixes returns the prefixes of other fleets on the broker. [bus.Inspector] does not find a
// prefix that ends with a letter, digit or underscore. If this bus has no prefix, such a prefix is
// found at the beginning of the name of the other fleet's control service.
func (f *facts) prefixes(ctx context.Context, b bus.Bus) []string {
	found := make(map[string]bool)
	if inspector, ok := b.(bus.Inspector); ok {
		// If the broker does not answer, its prefixes are left out.
		prefixes, _ := inspector.Prefixes(ctx)
		for _, prefix := range prefixes {
			found[prefix] = true
		}
	}
	for _, service := range f.peers.Services {
		if prefix, ok := strings.CutSuffix(service.WireName, fleetService); ok && prefix != "" {
			found[prefix] = true
		}
	}
	delete(found, f.info.Prefix)
	all := slices.Sorted(maps.Keys(found))
	return all[:min(len(all), maxPrefixes)]
}

// served is a method together with its service and the server that serves it.
type served struct {
	server  *fleet.Server
	service *fleet.Service
	method  fleet.Method
}

// methodKey identifies a method of a server.
type methodKey struct{ server, service, method string }

func (m served) key() methodKey { return methodKey{m.server.ID, m.service.WireName, m.method.WireName} }

// name returns the full name of the method.
func (m served) name() string { return m.service.Name + "/" + m.method.Name }

// methodsOf yields all methods of servers.
func methodsOf(servers []*fleet.Server) iter.Seq[served] {
	return func(yield func(served) bool) {
		for _, server := range servers {
			for i := range server.Services {
				for _, method := range server.Services[i].Methods {
					if !yield(served{server, &server.Services[i], method}) {
						return
					}
				}
			}
		}
	}
}

// countedMethodsOf yields the methods of servers that have counters.
func countedMethodsOf(servers []*fleet.Server) iter.Seq[served] {
	return func(yield func(served) bool) {
		for m := range methodsOf(servers) {
			if m.method.Stats != nil && !yield(m) {
				return
			}
		}
	}
}

// busKind returns "redis", "nats" or "local".
func (f *facts) busKind() string { return f.info.Kind }

// hasMode reports whether the bus of this program uses a mode, such as "subject_per_method".
func (f *facts) hasMode(mode string) bool { return slices.Contains(f.info.Modes, mode) }

// missing returns why a check cannot run, or "" if it can.
func (f *facts) missing(needs []part) string {
	for _, need := range needs {
		err := f.unknown[need]
		if errors.Is(err, errors.Unimplemented) && f.busKind() == kindNATS {
			return "NATS tells this only to a bus whose URL has the parameter monitor, such as monitor=http://host:8222"
		}
		if err != nil {
			return fmt.Sprintf("%s could not be read: %v", need, err)
		}
	}
	return ""
}
