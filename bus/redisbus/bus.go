package redisbus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

const (
	// lockCapacity is how many frames may wait for their lock before the bus stops reading from Redis.
	lockCapacity = 8 << 10
	// minRetryPause and maxRetryPause bound the pause between attempts to connect.
	minRetryPause, maxRetryPause = 25 * time.Millisecond, 400 * time.Millisecond
)

// Bus is the bus over Redis. Make one with [New] or bus.Open.
type Bus struct {
	client   redis.UniversalClient
	topology topology
	options  options
	ctx      context.Context //nolint:containedctx // the life of the bus: it ends when the bus is closed
	cancel   context.CancelCauseFunc
	workers  sync.WaitGroup // the supervisor, and those who let go of sessions
	done     chan struct{}

	soleSupervisor *supervisor // carries all channels; nil if there may be several links
	connectLock    sync.Mutex  // held while a link is added

	mu          sync.RWMutex
	supervisors map[string]*supervisor   // by place
	channels    map[string]*channelState // by name, with the prefix

	events lifecycle.EventQueue[bus.Event]

	published, publishErrors, received, dropped, disconnects atomic.Uint64
}

var _ bus.Monitored = (*Bus)(nil)

// New returns a bus over client, a *redis.Client (of a single server, or a failover client of Sentinel) or a
// *redis.ClusterClient. It connects, and fails with code unavailable if it cannot, or invalid_argument if an option is
// wrong.
//
// The client remains the caller's, who closes it after the bus. The bus has connections of its own: see the package
// comment.
func New(client redis.UniversalClient, opts ...Option) (*Bus, error) {
	return newBus(context.Background(), client, opts)
}

func newBus(ctx context.Context, client redis.UniversalClient, opts []Option) (*Bus, error) {
	options, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	topology, err := newTopology(client, options.sharded)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		client: client, topology: topology, options: options,
		done:        make(chan struct{}),
		supervisors: map[string]*supervisor{},
		channels:    map[string]*channelState{},
		events:      lifecycle.NewEventQueue[bus.Event](),
	}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.workers.Go(func() { b.events.Run(b.ctx.Done(), b.options.onEvent) }) // Close waits for it
	sup, err := b.supervisorFor(ctx, options.prefix+"DYN")                 // any channel shows whether Redis is there
	if err != nil {
		b.cancel(err)
		b.workers.Wait()
		return nil, err
	}
	if _, sharded := topology.(shardedCluster); !sharded {
		b.soleSupervisor = sup
	}
	return b, nil
}

// supervisorFor returns the link that carries a channel. If there is none yet it connects.
func (b *Bus) supervisorFor(ctx context.Context, channel string) (*supervisor, error) {
	if b.soleSupervisor != nil {
		return b.soleSupervisor, nil
	}
	key, err := b.topology.nodeKey(ctx, channel)
	if err != nil {
		return nil, err
	}
	if sup := b.supervisorAt(key); sup != nil {
		return sup, nil
	}
	b.connectLock.Lock()
	defer b.connectLock.Unlock()
	if sup := b.supervisorAt(key); sup != nil {
		return sup, nil
	}
	sup := b.newSupervisor(channel)
	s, err := sup.connect(ctx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.supervisors[key] = sup
	b.workers.Go(func() { sup.supervise(s) }) // Close waits for it
	return sup, nil
}

func (b *Bus) supervisorAt(key string) *supervisor {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.supervisors[key]
}

// Publish queues frame to be sent. The report is told later how many connections got it: those of queue members count
// one each.
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(frame) > b.options.maxFrameSize {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %s, the limit is %d",
			bus.ErrFrameTooLarge, len(frame), channel, b.options.maxFrameSize)
	}
	name := b.options.prefix + channel.Name
	sup, err := b.supervisorFor(ctx, name)
	if err != nil {
		return err
	}
	s := sup.lastActive.Load()
	if s.ctx.Err() != nil {
		return s.err()
	}
	return s.publisher.send(ctx, publication{bus: b, channel: name, frame: frame, report: report})
}

// Stats returns the bus's counters.
func (b *Bus) Stats() bus.Stats {
	connected := true
	b.mu.RLock()
	for _, sup := range b.supervisors {
		connected = connected && sup.lastActive.Load().ctx.Err() == nil
	}
	b.mu.RUnlock()
	return bus.Stats{
		Connected:     connected,
		Disconnects:   b.disconnects.Load(),
		Published:     b.published.Load(),
		PublishErrors: b.publishErrors.Load(),
		Received:      b.received.Load(),
		Dropped:       b.dropped.Load(),
	}
}

// Close ends all subscriptions and returns when the last goroutine of the bus has ended. That takes as long as Redis
// takes to answer what is on its way, at most the probe interval. It always returns nil.
func (b *Bus) Close() error {
	b.mu.Lock()
	first := b.ctx.Err() == nil
	b.cancel(bus.ErrClosed)
	b.mu.Unlock()
	if !first {
		<-b.done
		return nil
	}
	b.workers.Wait()
	for _, c := range b.listChannels() {
		c.snapshot.Load().subscribers.Close()
	}
	if b.options.ownsClient {
		_ = b.client.Close() // nothing is left that its error could concern
	}
	close(b.done)
	return nil
}

// Done is closed when the bus has been closed.
func (b *Bus) Done() <-chan struct{} { return b.done }

func (b *Bus) listChannels() []*channelState {
	b.mu.RLock()
	defer b.mu.RUnlock()
	channels := make([]*channelState, 0, len(b.channels))
	for _, c := range b.channels {
		channels = append(channels, c)
	}
	return channels
}

// deleteIfUnusedLocked drops c if it has no members and Redis has nothing more to say of it.
func (b *Bus) deleteIfUnusedLocked(c *channelState) {
	if c.snapshot.Load().subscribers == nil && !c.subscribeSent && c.pendingReplies == 0 && !c.dirty {
		delete(b.channels, c.name)
	}
}
