package redisbus

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var _ bus.Inspector = (*Bus)(nil)

// Count returns how many connections subscribe to each channel. In a Cluster, it adds up the
// numbers of all servers. Pattern subscriptions are not counted.
func (b *Bus) Count(ctx context.Context, channels ...bus.Channel) ([]int, error) {
	names := map[string]bool{}
	for _, channel := range channels {
		names[b.options.Prefix+channel.Name] = true
	}
	var mu sync.Mutex
	subscribers := map[string]int64{}
	err := b.inspect(ctx, func(ctx context.Context, node *inspectedNode) error {
		counts := map[string]int64{}
		err := addSubscribers(ctx, node.numSub, names, counts)
		mu.Lock()
		defer mu.Unlock()
		for name, count := range counts {
			subscribers[name] += count
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	counts := make([]int, len(channels))
	for i, channel := range channels {
		counts[i] = int(subscribers[b.options.Prefix+channel.Name])
	}
	return counts, nil
}

// Scan visits the subscribed channels that begin with the prefix of the bus, on all servers of a
// Cluster. First, it asks each server for its channels, which blocks the server for about 0.2 µs
// per channel. Then it counts the subscriptions of a few hundred channels at a time.
func (b *Bus) Scan(ctx context.Context) iter.Seq2[bus.Presence, error] {
	return func(yield func(bus.Presence, error) bool) {
		subscribers, err := b.scan(ctx)
		if err != nil {
			yield(bus.Presence{}, err)
			return
		}
		names := make([]string, 0, len(subscribers))
		for name := range subscribers {
			names = append(names, name[len(b.options.Prefix):])
		}
		for name, parts := range wire.ParseNames(names) {
			presence := bus.Presence{
				Channel: b.options.Prefix + name, Service: parts.Service, Method: parts.Method, Topic: parts.Topic,
				Carries: parts.Carries, ClientID: parts.ClientID, Address: parts.Address,
			}
			presence.Receivers = int(subscribers[presence.Channel])
			if presence.Receivers > 0 && !yield(presence, nil) {
				return
			}
		}
	}
}

// scan returns the names of all channels that begin with the prefix of the bus, with the number of
// connections that subscribe to each.
func (b *Bus) scan(ctx context.Context) (map[string]int64, error) {
	var mu sync.Mutex
	subscribers := map[string]int64{}
	return subscribers, b.inspect(ctx, func(ctx context.Context, node *inspectedNode) error {
		names, err := node.channels(ctx, escapePattern(b.options.Prefix)+"*")
		if err != nil {
			return err
		}
		channels := make(map[string]bool, len(names))
		for _, name := range names {
			channels[name] = true
		}
		counts := make(map[string]int64, len(names))
		err = addSubscribers(ctx, node.numSub, channels, counts)
		mu.Lock()
		defer mu.Unlock()
		for name, count := range counts {
			subscribers[name] += count
		}
		return err
	})
}

// Prefixes returns the prefixes of all channels, on all servers of a Cluster.
func (b *Bus) Prefixes(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	prefixes := driver.NewPrefixes(b.options.Prefix)
	err := b.inspect(ctx, func(ctx context.Context, node *inspectedNode) error {
		names, err := node.channels(ctx, "*")
		mu.Lock()
		defer mu.Unlock()
		for _, name := range names {
			prefixes.Add(name, wire.PrefixOfName)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return prefixes.Sorted(), nil
}

// escapePattern returns a Redis pattern that matches only the given text.
func escapePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// Peers returns the connections that subscribe to channels or patterns, on all servers of a
// Cluster. Redis does not report to which channels a connection subscribes.
func (b *Bus) Peers(ctx context.Context) ([]bus.Peer, error) {
	var mu sync.Mutex
	var peers []bus.Peer
	err := b.inspect(ctx, func(ctx context.Context, node *inspectedNode) error {
		list, err := node.conn.Do(ctx, "client", "list", "type", "pubsub").Text()
		mu.Lock()
		defer mu.Unlock()
		for line := range strings.Lines(list) {
			peers = append(peers, parsePeer(line, node.name))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return peers, nil
}

// parsePeer parses a line of the reply to CLIENT LIST. node is the server that has sent it.
func parsePeer(line, node string) bus.Peer {
	fields := map[string]string{}
	for field := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	return bus.Peer{
		Address: fields["addr"], Name: fields["name"], Node: node,
		Connected: time.Duration(number(fields["age"])) * time.Second, Idle: time.Duration(number(fields["idle"])) * time.Second,
		PendingBytes:  number(fields["obl"]) + number(fields["omem"]),
		Subscriptions: int(number(fields["sub"]) + number(fields["psub"]) + number(fields["ssub"])),
	}
}

// number parses a number in a reply from Redis. It returns 0 if text is not a number.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0 // an older server does not send this field
	}
	return n
}

// inspectedNode is a connection to one server, which is used for a single inspection.
type inspectedNode struct {
	*dialedClient

	options *redis.Options
	// name is the address of the server. It is empty if the broker has only one server.
	name    string
	sharded bool
}

// channels returns the names of the channels that have subscriptions and match a pattern.
func (n *inspectedNode) channels(ctx context.Context, pattern string) ([]string, error) {
	if n.sharded {
		return n.conn.PubSubShardChannels(ctx, pattern).Result()
	}
	return n.conn.PubSubChannels(ctx, pattern).Result()
}

// numSub asks the server how many connections subscribe to each channel. It uses the command for
// sharded pub/sub if the bus uses sharded pub/sub.
func (n *inspectedNode) numSub(ctx context.Context, channels ...string) *redis.MapStringIntCmd {
	if n.sharded {
		return n.conn.PubSubShardNumSub(ctx, channels...)
	}
	return n.conn.PubSubNumSub(ctx, channels...)
}

// inspect connects to each server of the broker and calls f with the connection. The calls are
// concurrent. The connections are not those of the bus, so that a long reply delays no frames.
func (b *Bus) inspect(ctx context.Context, f func(ctx context.Context, node *inspectedNode) error) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	if b.ctx.Err() != nil {
		return bus.ErrClosed
	}
	ctx, cancel := context.WithCancel(ofBus(ctx))
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	var err error
	switch client := b.client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error {
			return b.inspectNode(ctx, node, node.Options().Addr, f)
		})
	case *redis.Client:
		err = b.inspectNode(ctx, client, "", f)
	}
	return b.inspectionError(ctx, err)
}

// inspectNode connects to a server and calls f with the connection. name is the name of the server,
// or empty if the broker has only one server. The connection is closed when f returns or ctx ends.
func (b *Bus) inspectNode(
	ctx context.Context, node *redis.Client, name string, f func(ctx context.Context, node *inspectedNode) error,
) error {
	client, err := dialClient(ctx, node, b.credentials)
	if err != nil {
		return connectError(node.Options(), err)
	}
	defer client.close()
	defer context.AfterFunc(ctx, func() { _ = client.network.Close() })()
	return f(ctx, &inspectedNode{dialedClient: client, options: node.Options(), name: name, sharded: b.options.sharded})
}

// inspectionError converts the error of an inspection to one with a code.
func (b *Bus) inspectionError(ctx context.Context, err error) error {
	_, coded := errors.AsType[errors.Error](err)
	switch {
	case err == nil:
		return nil
	case b.ctx.Err() != nil:
		return bus.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case resp.HasCode(err, "NOPERM"):
		return errors.NewErrorf(errors.PermissionDenied, "redis bus: the server does not permit to look at its channels: %w", err)
	case coded:
		return err
	default:
		return errors.NewErrorf(errors.Unavailable, "redis bus: cannot look at the channels of the server: %w", err)
	}
}
