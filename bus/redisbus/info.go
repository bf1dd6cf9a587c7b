package redisbus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

var _ bus.Informed = (*Bus)(nil)

const (
	// kind is the kind of the bus, and the name of its usual broker.
	kind = "redis"
	// clusterSlots is the number of slots of every Redis Cluster.
	clusterSlots = 16384
	// failoverAddr is the placeholder that go-redis puts in Options.Addr if it gets the address
	// from sentinels.
	failoverAddr = "FailoverClient"
)

// Settings returns the settings of the bus.
func (b *Bus) Settings() bus.Settings {
	s := bus.Settings{Kind: kind, Prefix: b.options.Prefix, MaxFrameSize: int64(b.options.maxFrameSize)}
	if b.options.sharded {
		s.Modes = append(s.Modes, "sharded")
	}
	switch client := b.client.(type) {
	case *redis.ClusterClient:
		s.Modes = append(s.Modes, "cluster")
	case *redis.Client:
		s.Database = client.Options().DB
		if client.Options().Addr == failoverAddr {
			s.Modes = append(s.Modes, "sentinel")
		}
	}
	return s
}

// RoundTrip returns the time that Redis takes to count the subscribers of a channel. It uses the
// connection on which the bus publishes. In a Cluster, it asks one of the servers.
func (b *Bus) RoundTrip(ctx context.Context) (time.Duration, error) {
	if err := nilarg.ContextErr(ctx); err != nil {
		return 0, err
	}
	channel := b.options.Prefix + anyChannel
	sup, err := b.supervisorFor(ctx, channel)
	if err != nil {
		return 0, err
	}
	s, err := sup.session()
	if err != nil {
		return 0, err
	}
	count := &subscriberCount{replied: make(chan struct{})}
	started := time.Now()
	if err := s.publisher.Send(ctx, publication{bus: &b.core, channel: channel, count: count, counts: true}); err != nil {
		return 0, err
	}
	select {
	case <-count.replied:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	took := time.Since(started)
	if count.err != nil && !resp.IsError(count.err) {
		return 0, errors.NewErrorf(errors.Unavailable, "redis bus: the server has not answered: %w", count.err)
	}
	return took, nil // an error reply, such as NOPERM, takes as long
}

// Info returns facts about the server, or about all servers of a Cluster. For a Cluster,
// Connections and UsedMemory are sums over all servers, and RoundTrip is the longest. Most other
// facts are those of one master. Info opens a connection to each server, and sends INFO and CONFIG
// GET. If Redis does not permit these commands, or if a server of a Cluster does not answer,
// Info.Withheld says so.
func (b *Bus) Info(ctx context.Context) (bus.Info, error) {
	var mu sync.Mutex
	info := bus.Info{Settings: b.Settings()}
	err := b.inspect(ctx, func(ctx context.Context, node *inspectedNode) error {
		facts, err := node.facts(ctx)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		add(&info, facts)
		return nil
	})
	switch {
	case err == nil:
	case errors.Is(err, errors.Unavailable) && len(info.Nodes) > 0 && !errors.Is(err, bus.ErrClosed):
		// Do not return the error, because facts about a Cluster matter most while one of its
		// servers is down.
		info.Withheld = append(info.Withheld, err.Error())
	default:
		return bus.Info{}, err
	}
	slices.Sort(info.Nodes)
	slices.Sort(info.Withheld)
	info.Withheld = slices.Compact(info.Withheld)
	if node := b.currentNode(); node != "" && len(info.Nodes) > 0 {
		info.Address = node
	}
	return info, nil
}

// currentNode returns the address of the server to which the bus is connected. It returns an empty
// string if there may be several such servers, as with sharded pub/sub.
func (b *Bus) currentNode() string {
	if b.soleSupervisor == nil {
		return ""
	}
	return b.soleSupervisor.lastActive.Load().node.Options().Addr
}

// add adds the facts about one server to those about the broker.
func add(info *bus.Info, facts bus.Info) {
	info.Withheld = append(info.Withheld, facts.Withheld...)
	info.Connections += facts.Connections
	info.UsedMemory += facts.UsedMemory
	info.Nodes = append(info.Nodes, facts.Nodes...)
	if info.Software != "" && facts.Role != "master" {
		return // facts about a replica replace nothing, because the bus publishes through a master
	}
	info.Software, info.Version, info.Role = facts.Software, facts.Version, facts.Role
	info.Address, info.RoundTrip = facts.Address, max(info.RoundTrip, facts.RoundTrip)
	info.EvictionPolicy, info.MaxMemory = facts.EvictionPolicy, facts.MaxMemory
	info.OutputBuffer, info.UncoveredSlots = facts.OutputBuffer, facts.UncoveredSlots
}

// facts returns the facts about one server.
func (n *inspectedNode) facts(ctx context.Context) (info bus.Info, err error) {
	info.Address = addressOf(n.options)
	if n.options.Addr == failoverAddr {
		info.Address = n.network.RemoteAddr().String()
	}
	if n.name != "" {
		info.Nodes = []string{n.name}
	}
	start := time.Now()
	if err := n.conn.Ping(ctx).Err(); err != nil {
		return info, err
	}
	info.RoundTrip = time.Since(start)

	values, err := n.conn.Info(ctx).Result()
	switch {
	case resp.IsError(err):
		info.Withheld = append(info.Withheld, fmt.Sprintf("INFO: %v", err))
	case err != nil:
		return info, err
	}
	fields := infoFields(values)
	info.Software, info.Version = kind, fields["redis_version"]
	if fields["valkey_version"] != "" {
		info.Software, info.Version = "valkey", fields["valkey_version"]
	}
	if info.Role = fields["role"]; info.Role == "slave" {
		info.Role = "replica"
	}
	info.EvictionPolicy, info.MaxMemory = fields["maxmemory_policy"], number(fields["maxmemory"])
	info.UsedMemory, info.Connections = number(fields["used_memory"]), int(number(fields["connected_clients"]))

	config, err := n.conn.ConfigGet(ctx, "client-output-buffer-limit").Result()
	switch {
	case resp.IsError(err):
		info.Withheld = append(info.Withheld, fmt.Sprintf("CONFIG GET: %v", err))
	case err != nil:
		return info, err
	default:
		info.OutputBuffer = parseOutputBuffer(config["client-output-buffer-limit"])
	}

	if fields["cluster_enabled"] != "1" {
		return info, nil
	}
	values, err = n.conn.ClusterInfo(ctx).Result()
	switch {
	case resp.IsError(err):
		info.Withheld = append(info.Withheld, fmt.Sprintf("CLUSTER INFO: %v", err))
	case err != nil:
		return info, err
	default:
		info.UncoveredSlots = clusterSlots - int(number(infoFields(values)["cluster_slots_ok"]))
	}
	return info, nil
}

// infoFields parses the reply to INFO or CLUSTER INFO.
func infoFields(reply string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(reply) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			fields[name] = value
		}
	}
	return fields
}

// parseOutputBuffer returns the limit for subscribers from the value of client-output-buffer-limit,
// which consists of four words for each class of clients.
func parseOutputBuffer(value string) (limit bus.OutputBuffer) {
	const wordsPerClass = 4
	for class := range slices.Chunk(strings.Fields(value), wordsPerClass) {
		if len(class) == wordsPerClass && class[0] == "pubsub" {
			limit.Hard, limit.Soft = number(class[1]), number(class[2])
			limit.SoftTime = time.Duration(number(class[3])) * time.Second
		}
	}
	return limit
}
