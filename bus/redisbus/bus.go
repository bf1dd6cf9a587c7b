package redisbus

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

const (
	// lockQueue is how many frames may wait for their lock before the bus stops reading from Redis.
	lockQueue = 64 << 10
	// minRetry and maxRetry bound the pause between attempts to connect.
	minRetry, maxRetry = 25 * time.Millisecond, 400 * time.Millisecond
)

// Bus is the bus over Redis. Make one with [New] or bus.Open.
type Bus struct {
	client       redis.UniversalClient
	topology     topology
	options      options
	probeChannel string
	ctx          context.Context //nolint:containedctx // the life of the bus: it ends when the bus is closed
	cancel       context.CancelCauseFunc
	workers      sync.WaitGroup // the supervisor, and those who let go of sessions
	done         chan struct{}

	up atomic.Pointer[session] // the last session that was live; it may have ended. Never nil once New has returned

	mu       sync.RWMutex
	session  *session            // the session that channels are subscribed on, live or becoming so
	channels map[string]*channel // by name, with the prefix
	dirty    []*channel          // wait for the reconciler

	published, unpublished, received, dropped, disconnects atomic.Uint64
}

var _ bus.Monitored = (*Bus)(nil)

// New returns a bus over client, a *redis.Client (of a single server, or a failover client of Sentinel) or a
// *redis.ClusterClient. It connects, and fails with code unavailable if it cannot, or invalid_argument if an option is
// wrong.
//
// The client remains the caller's, who closes it after the bus. Give the bus a client of its own: other users of the
// same connection pool may leave dead connections in it. go-redis older than v9.22 loses pub/sub messages under RESP3.
func New(client redis.UniversalClient, opts ...Option) (*Bus, error) {
	return newBus(context.Background(), client, opts)
}

func newBus(ctx context.Context, client redis.UniversalClient, opts []Option) (*Bus, error) {
	topology, err := topologyOf(client)
	if err != nil {
		return nil, err
	}
	options, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if _, isCluster := topology.(cluster); isCluster && options.sharded {
		return nil, errors.NewErrorf(errors.InvalidArgument, "redis bus: sharded pub/sub over a cluster client is not supported")
	}
	b := &Bus{
		client: client, topology: topology, options: options,
		probeChannel: options.prefix + "DYN|PROBE|" + id.NewClient(),
		done:         make(chan struct{}),
		channels:     map[string]*channel{},
	}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.joinLocked(b.probeChannel, fanout.NewMember(false, func([]byte) {})) // coming back is all that it does
	s, err := b.connect(ctx)
	if err != nil {
		b.cancel(err)
		b.workers.Wait()
		return nil, err
	}
	b.workers.Go(func() { b.supervise(s) }) // Close waits for it
	return b, nil
}

// supervise replaces sessions that end.
func (b *Bus) supervise(s *session) {
	for {
		<-s.ctx.Done()
		b.discard(s)
		if b.ctx.Err() != nil {
			return
		}
		b.disconnects.Add(1)
		b.options.onEvent(bus.Event{Kind: bus.Disconnected, Err: s.err()})
		if s = b.reconnect(); s == nil {
			return
		}
		b.options.onEvent(bus.Event{Kind: bus.Reconnected})
	}
}

// reconnect returns nil once the bus is closed.
func (b *Bus) reconnect() *session {
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		s, err := b.connect(b.ctx)
		if err == nil {
			return s
		}
		retry := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // not a secret
		select {
		case <-retry.C:
		case <-b.ctx.Done():
			retry.Stop()
			return nil
		}
	}
}

// connect returns a session on which all channels are live.
func (b *Bus) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, b.options.connectTimeout)
	defer cancel()
	s, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range b.snapshot() {
		if err := b.await(ctx, s, c, c.decidedLocked); err != nil {
			s.fail(err)
			b.discard(s)
			return nil, s.err()
		}
	}
	b.up.Store(s)
	return s, nil
}

// Publish queues frame to be sent. The report is told later how many connections got it: those of queue members count
// one each.
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := b.up.Load()
	if s.ctx.Err() != nil {
		return s.err()
	}
	if len(frame) > b.options.maxFrameSize {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %s, the limit is %d",
			bus.ErrFrameTooLarge, len(frame), channel, b.options.maxFrameSize)
	}
	return s.publish.push(ctx, s, publication{channel: b.options.prefix + channel.Name, frame: frame, report: report})
}

// Stats returns the bus's counters.
func (b *Bus) Stats() bus.Stats {
	return bus.Stats{
		Connected:   b.up.Load().ctx.Err() == nil,
		Disconnects: b.disconnects.Load(),
		Published:   b.published.Load(),
		Unpublished: b.unpublished.Load(),
		Received:    b.received.Load(),
		Dropped:     b.dropped.Load(),
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
	for _, c := range b.snapshot() {
		c.audience.Load().members.Close()
	}
	if b.options.ownsClient {
		_ = b.client.Close() // nothing is left that its error could concern
	}
	close(b.done)
	return nil
}

// Done is closed when the bus has been closed.
func (b *Bus) Done() <-chan struct{} { return b.done }

func (b *Bus) snapshot() []*channel {
	b.mu.RLock()
	defer b.mu.RUnlock()
	channels := make([]*channel, 0, len(b.channels))
	for _, c := range b.channels {
		channels = append(channels, c)
	}
	return channels
}

// adopt makes s the session that channels are subscribed on.
func (b *Bus) adopt(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session = s
	b.dirty = nil
	for _, c := range b.channels {
		c.dirty, c.asked, c.unconfirmed, c.alone, c.refused = false, false, 0, false, nil
		if c.wantedLocked() {
			b.touchLocked(c)
		}
		b.forgetLocked(c)
	}
}

// touchLocked hands c to the reconciler.
func (b *Bus) touchLocked(c *channel) {
	if !c.dirty {
		c.dirty = true
		b.dirty = append(b.dirty, c)
	}
	select {
	case b.session.wake <- struct{}{}:
	default:
	}
}

// forgetLocked drops c if it has no members and Redis has nothing more to say of it.
func (b *Bus) forgetLocked(c *channel) {
	if c.audience.Load().members == nil && !c.asked && c.unconfirmed == 0 && !c.dirty {
		delete(b.channels, c.name)
	}
}
