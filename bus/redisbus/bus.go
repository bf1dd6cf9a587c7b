package redisbus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Bus is a bus over Redis pub/sub. Create one with [New] or bus.Open. All methods are safe for
// concurrent use.
type Bus struct {
	core

	// receiverID distinguishes this bus from all others; see ReceiverID.
	receiverID string
	done       chan struct{}

	// soleSupervisor handles all channels. It is nil on a cluster with sharded pub/sub, where each
	// shard needs a supervisor of its own.
	soleSupervisor *supervisor
	// connectLock is held while a supervisor is being added, so that no shard gets two supervisors.
	connectLock sync.Mutex
	// supervisors is keyed by node key, as returned by topology.nodeKey. core.mu guards it.
	supervisors map[string]*supervisor
}

var (
	_ bus.Monitored       = (*Bus)(nil)
	_ bus.ReceiverCounter = (*Bus)(nil)
	_ bus.Competing       = (*Bus)(nil)
)

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
	sup := newSupervisor(&b.core, channel)
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
	name := b.options.Prefix + channel.Name
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
	return s.publisher.Send(ctx, publication{bus: &b.core, channel: name, frame: frame, report: report, count: count})
}

// CountsReceivers returns false in a Cluster without sharded pub/sub, where no node knows all
// subscribers.
func (b *Bus) CountsReceivers() bool { return b.topology.reportsReceivers() }

// ReceiverID implements bus.Competing: Redis delivers a queue frame to every connection that
// subscribes to the queue.
func (b *Bus) ReceiverID() string { return b.receiverID }

// Subscribe registers handler for the frames on channel until the subscription or the bus is
// closed. It returns once Redis has confirmed the subscription. ctx limits only how long Subscribe
// waits. The subscription survives reconnects, but frames published while the connection is down
// are lost.
//
// Subscribe returns ctx.Err() if ctx ends first, and bus.ErrClosed if the bus is closed. Other
// errors have code permission_denied if a Redis ACL denies access to the channel, or code
// unavailable if there is no connection to Redis.
func (b *Bus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := nilarg.SubscribeErr(ctx, handler); err != nil {
		return nil, err
	}
	name := b.options.Prefix + channel.Name
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

	subscription := &subscription{bus: &b.core, channel: c, subscriber: subscriber}
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
		c = newChannelState(&sup.channelGroup, name)
		b.channels[name] = c
	}
	c.addSubscriberLocked(subscriber)
	return c
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
		c.group = &sup.channelGroup
		c.resetLocked()
		c.markDirtyLocked()
		c.notifyLocked()
		b.mu.Unlock()
		return
	}
}

// Stats returns the current state and counters of the bus. Connected is false while any session is
// down, even if the sessions with other shards are up.
func (b *Bus) Stats() bus.Stats {
	return b.counters.Stats(b.isConnected())
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
func (b *Bus) Logger() *slog.Logger { return b.options.Logger }

// Done returns a channel that is closed when Close is complete.
func (b *Bus) Done() <-chan struct{} { return b.done }
