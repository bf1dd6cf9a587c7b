package redisbus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dropcount"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Bus is a bus over Redis pub/sub. Create one with [New] or bus.Open. All methods are safe for
// concurrent use.
type Bus struct {
	client   redis.UniversalClient
	topology topology
	options  options
	// receiverID distinguishes this bus from all others; see ReceiverID.
	receiverID string
	// credentials is nil unless the client has a StreamingCredentialsProvider.
	credentials *credentials
	// ctx ends when the bus is closed.
	ctx    context.Context //nolint:containedctx // canceled by Close
	cancel context.CancelCauseFunc
	// workers tracks the goroutines of the bus, so that Close can wait for them.
	workers sync.WaitGroup
	done    chan struct{}

	// soleSupervisor handles all channels. It is nil on a cluster with sharded pub/sub, where each
	// shard needs a supervisor of its own.
	soleSupervisor *supervisor
	// connectLock is held while a supervisor is being added, so that no shard gets two supervisors.
	connectLock sync.Mutex

	// mu guards the fields below. It also guards those fields of channelState, supervisor and
	// session whose comments say so.
	mu sync.RWMutex
	// supervisors is keyed by node key, as returned by topology.nodeKey.
	supervisors map[string]*supervisor
	// channels is keyed by channel name, including the prefix.
	channels map[string]*channelState

	events lifecycle.EventQueue[bus.Event]

	// drops counts the queue frames that were lost because the attempt to lock them failed with an
	// error.
	drops dropcount.Counter
	// lockRetries is the number of lock attempts that are being repeated. It is limited to
	// maxLockRetries.
	lockRetries atomic.Int64
	// observers records whether clients with pattern subscriptions receive the frames of the bus.
	observers *observers
	// peerSigns collects the channels of queues for which watchPeers must check whether psrpc
	// processes subscribe to them.
	peerSigns peerSigns

	published, publishErrors, received, disconnects atomic.Uint64
}

var (
	_ bus.Monitored       = (*Bus)(nil)
	_ bus.ReceiverCounter = (*Bus)(nil)
	_ bus.Competing       = (*Bus)(nil)
)

// anyChannel is the name of a channel that selects a shard if it does not matter which one.
const anyChannel = "DYN"

// New returns a bus that is connected to the same Redis server or cluster as client. client must be
// a *redis.Client (for a single server, or a Sentinel failover client) or a *redis.ClusterClient.
// New returns an error with code unavailable if it cannot connect. The code is unauthenticated if
// Redis refuses the credentials, and invalid_argument if client or an option is invalid.
//
// The caller keeps ownership of client and must not close it before closing the bus. The bus reads
// the client's options, but dials its own connections, as described in the package documentation.
func New(client redis.UniversalClient, opts ...Option) (*Bus, error) {
	return newBus(context.Background(), client, opts)
}

// newBus is like New, but ctx limits the first attempt to connect.
func newBus(ctx context.Context, client redis.UniversalClient, opts []Option) (*Bus, error) {
	options, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	topology, err := newTopology(client, options.sharded)
	if err != nil {
		return nil, err
	}
	credentials, err := newCredentials(client, options.logger)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		client: client, topology: topology, options: options, credentials: credentials,
		receiverID:  id.NewBus(),
		done:        make(chan struct{}),
		supervisors: map[string]*supervisor{},
		channels:    map[string]*channelState{},
		events:      lifecycle.NewEventQueue[bus.Event](),
		observers:   newObservers(),
		peerSigns:   peerSigns{wakeup: make(chan struct{}, 1)},
	}
	b.ctx, b.cancel = context.WithCancelCause(ofBus(context.Background()))
	b.workers.Go(func() { b.events.Run(b.ctx.Done(), b.options.onEvent) })
	_, sharded := topology.(shardedCluster)
	// psrpc does not use sharded pub/sub, so sharded channels have no psrpc subscribers to find.
	if !sharded {
		b.workers.Go(b.watchPeers)
	}
	// Clients with a pattern subscription do not receive the frames of sharded channels.
	if topology.reportsReceivers() && !sharded {
		b.workers.Go(b.watchObservers)
	}
	// Connect now, so that New fails if Redis is unreachable. The bus connects to other shards when
	// they are first needed.
	sup, err := b.supervisorFor(ctx, options.prefix+anyChannel)
	if err != nil {
		b.cancel(err)
		b.workers.Wait()
		b.credentials.close()
		if isLoginRefused(err) {
			err = errors.NewErrorf(errors.Unauthenticated, "%w", err)
		}
		return nil, err
	}
	if !sharded {
		b.soleSupervisor = sup
	}
	return b, nil
}

// Format implements fmt.Formatter. It prints only the name of the type: the fields may contain
// passwords, and other goroutines may change them during printing.
func (b *Bus) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redisbus.Bus") }

// supervisorFor returns the supervisor that handles channel. If there is none yet, supervisorFor
// creates and starts one, and waits until it has connected.
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
	sup := &supervisor{bus: b, channel: channel}
	s, err := sup.connect(ctx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.supervisors[key] = sup
	b.workers.Go(func() { sup.supervise(s) })
	return sup, nil
}

// supervisorAt returns the supervisor for the given node key, or nil if there is none.
func (b *Bus) supervisorAt(key string) *supervisor {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.supervisors[key]
}

// Publish writes frame to the connection or queues it, and returns without waiting for a reply from
// Redis. If the queue is full (see [WithPublishQueue]), Publish waits for space until ctx ends.
// Once Redis has replied, report receives the number of connections to which Redis sent the frame.
// A bus counts as one connection no matter how many subscriptions it has, and queue subscribers are
// counted like any others. On a Cluster without sharded pub/sub, report receives bus.Unknown.
//
// Publish returns ctx.Err() if ctx ends first, bus.ErrClosed if the bus is closed, and
// bus.ErrFrameTooLarge if frame is too large. It returns an error with code unavailable if there is
// no connection to Redis.
func (b *Bus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	if len(frame) > b.options.maxFrameSize {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %.200s, the limit is %d",
			bus.ErrFrameTooLarge, len(frame), channel, b.options.maxFrameSize)
	}
	name := b.options.prefix + channel.Name
	sup, err := b.supervisorFor(ctx, name)
	if err != nil {
		return err
	}
	s, err := sup.session()
	if err != nil {
		return err
	}
	var count *subscriberCount
	if report != nil {
		if count, err = s.countSubscribers(ctx, name); err != nil {
			return err
		}
	}
	return s.publisher.send(ctx, publication{bus: b, channel: name, frame: frame, report: report, count: count})
}

// CountsReceivers returns false in a Cluster without sharded pub/sub, where no node knows all
// subscribers.
func (b *Bus) CountsReceivers() bool { return b.topology.reportsReceivers() }

// ReceiverID implements bus.Competing: Redis delivers a queue frame to every connection that
// subscribes to the queue.
func (b *Bus) ReceiverID() string { return b.receiverID }

// Subscribe registers handler to be called for each frame on channel until the subscription or the
// bus is closed. It returns once Redis has confirmed the subscription. ctx limits only how long
// Subscribe waits. The subscription survives reconnects, but frames published while the connection
// is down are lost.
//
// Subscribe returns ctx.Err() if ctx ends first, and bus.ErrClosed if the bus is closed. Other
// errors have code permission_denied if a Redis ACL denies access to the channel, or code
// unavailable if there is no connection to Redis.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := nilarg.ContextErr(ctx); err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, nilarg.ErrHandler
	}
	name := b.options.prefix + channel.Name
	sup, err := b.supervisorFor(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := sup.session()
	if err != nil {
		return nil, err
	}
	subscriber := fanout.NewSubscriber(mode == bus.Queue, handler)
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return nil, bus.ErrClosed
	}
	c := b.addSubscriberLocked(sup, name, subscriber)
	c.markDirtyLocked()
	b.mu.Unlock()

	subscription := &subscription{bus: b, channel: c, subscriber: subscriber}
	err = b.waitForChannel(ctx, s, c, c.subscribedLocked)
	if err == nil && mode == bus.Queue {
		err = s.waitForLocks(ctx)
	}
	if err != nil {
		subscription.unsubscribe()
		subscriber.Close()
		return nil, err
	}
	return subscription, nil
}

// addSubscriberLocked adds subscriber to the channel with the given name. It creates the channel if
// necessary.
func (b *Bus) addSubscriberLocked(sup *supervisor, name string, subscriber *fanout.Subscriber) *channelState {
	c := b.channels[name]
	if c == nil {
		c = newChannelState(sup, name)
		b.channels[name] = c
	}
	c.addSubscriberLocked(subscriber)
	return c
}

// waitForChannel waits until condition returns true or an error. It calls condition with mu
// read-locked, first immediately and then after each change to c. It returns early with an error if
// ctx or the session ends.
func (b *Bus) waitForChannel(ctx context.Context, s *session, c *channelState, condition func() (bool, error)) error {
	for {
		b.mu.RLock()
		done, err := condition()
		changed := c.changed
		b.mu.RUnlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return s.err()
		}
	}
}

// reassignNode moves a channel to another supervisor after the channel's shard has moved to another
// node. It retries until it succeeds or the bus is closed.
func (b *Bus) reassignNode(c *channelState) {
	for b.sleep(minRetryPause) {
		b.topology.refresh(b.ctx)
		sup, err := b.supervisorFor(b.ctx, c.name)
		if err != nil {
			continue
		}
		b.mu.Lock()
		c.supervisor = sup
		c.resetLocked()
		c.markDirtyLocked()
		c.notifyLocked()
		b.mu.Unlock()
		return
	}
}

// sleep pauses for the given duration and returns true. It returns false as soon as the bus is
// closed.
func (b *Bus) sleep(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-b.ctx.Done():
		return false
	}
}

// Stats returns the current state and counters of the bus. Connected is false while any session is
// down, even if the sessions with other shards are up.
func (b *Bus) Stats() bus.Stats {
	dropped, droppedBy := b.drops.Frames()
	return bus.Stats{
		Connected:     b.isConnected(),
		Disconnects:   b.disconnects.Load(),
		Published:     b.published.Load(),
		PublishErrors: b.publishErrors.Load(),
		Received:      b.received.Load(),
		Dropped:       dropped,
		DroppedBy:     droppedBy,
	}
}

// isConnected reports whether every supervisor has an active session.
func (b *Bus) isConnected() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, sup := range b.supervisors {
		if sup.lastActive.Load().ctx.Err() != nil {
			return false
		}
	}
	return true
}

// Close ends all subscriptions and waits for the replies to commands in flight, but for at most one
// probe interval. It returns when all goroutines of the bus have ended. It always returns nil. It
// does not close the client passed to New.
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
	b.topology.close()
	b.credentials.close()
	if b.options.ownsClient {
		// The bus is closed, so the error does not matter.
		_ = b.client.Close()
	}
	close(b.done)
	return nil
}

// Logger implements [bus.Logging].
func (b *Bus) Logger() *slog.Logger { return b.options.logger }

// Done returns a channel that is closed when Close is complete.
func (b *Bus) Done() <-chan struct{} { return b.done }

// listChannels returns the channels that exist at the time of the call.
func (b *Bus) listChannels() []*channelState {
	b.mu.RLock()
	defer b.mu.RUnlock()
	channels := make([]*channelState, 0, len(b.channels))
	for _, c := range b.channels {
		channels = append(channels, c)
	}
	return channels
}

// hasQueues reports whether any channel of sup has queue subscribers.
func (b *Bus) hasQueues(sup *supervisor) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range b.channels {
		if c.supervisor == sup && c.snapshot.Load().subscribers.HasQueue() {
			return true
		}
	}
	return false
}

// deleteIfUnusedLocked deletes c if nothing is left to be done for it. This is the case if c has no
// subscribers, is not subscribed on Redis, and is not waiting for the reconcile loop or a reply.
func (b *Bus) deleteIfUnusedLocked(c *channelState) {
	if c.snapshot.Load().subscribers == nil && !c.subscribeSent && c.pendingReplies == 0 && !c.dirty {
		delete(b.channels, c.name)
	}
}
