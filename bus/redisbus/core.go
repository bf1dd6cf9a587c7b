package redisbus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/internal/backoff"
)

// anyChannel is the name of a channel that the bus uses to select a shard if any shard will do.
const anyChannel = "DYN"

// minRetryPause and maxRetryPause limit the pause between two attempts to connect or to take a
// lock. Between attempts to connect, random jitter shortens the pause by up to half.
const minRetryPause, maxRetryPause = 25 * time.Millisecond, 400 * time.Millisecond

// core is the state that all parts of a [Bus] share. Sessions, supervisors, commands and
// subscriptions use core instead of the Bus itself.
type core struct {
	client   redis.UniversalClient
	topology topology
	options  options
	// credentials is nil unless the client has a StreamingCredentialsProvider.
	credentials *credentials
	// ctx ends when the bus is closed.
	ctx    context.Context //nolint:containedctx // canceled by Close
	cancel context.CancelCauseFunc
	// workers tracks the goroutines of the bus, so that Close can wait for them.
	workers sync.WaitGroup

	// mu guards channels and Bus.supervisors. It also guards those fields of channelState,
	// channelGroup, supervisor and sentCommands whose comments say so.
	mu sync.RWMutex
	// channels is keyed by channel name, including the prefix.
	channels map[string]*channelState
	// reassign moves a channel to another supervisor after the channel's shard has moved to another
	// node. It tries until it succeeds or the bus is closed.
	reassign func(c *channelState)

	events driver.Events
	// counters counts what passes through the bus. Its drops are the queue frames that were lost
	// because the attempt to lock them failed with an error.
	counters driver.Counters
	// lockRetries is the number of lock attempts that are being repeated. It is limited to
	// maxLockRetries.
	lockRetries atomic.Int64
	// observers records whether clients with pattern subscriptions receive the frames of the bus.
	observers *observers
	// peerSigns collects the channels of queues on which watchPeers must look for psrpc processes.
	peerSigns peerSigns
}

// sleep pauses for the given duration and returns true. It returns false as soon as the bus is
// closed.
func (b *core) sleep(pause time.Duration) bool { return backoff.Sleep(b.ctx, pause) }

// waitForChannel waits until condition returns true or an error. It calls condition with mu
// read-locked, first immediately and then after each change to c. It returns early with an error if
// ctx or the session ends.
func (b *core) waitForChannel(
	ctx context.Context, s pipeline.Session, c *channelState, condition func() (bool, error),
) error {
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
		case <-s.Context().Done():
			return s.Err()
		}
	}
}

// listChannels returns the channels that exist at the time of the call.
func (b *core) listChannels() []*channelState {
	b.mu.RLock()
	defer b.mu.RUnlock()
	channels := make([]*channelState, 0, len(b.channels))
	for _, c := range b.channels {
		channels = append(channels, c)
	}
	return channels
}

// hasQueues reports whether any channel of the group has queue subscribers.
func (b *core) hasQueues(group *channelGroup) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range b.channels {
		if c.group == group && c.snapshot.Load().subscribers.HasQueue() {
			return true
		}
	}
	return false
}

// deleteIfUnusedLocked deletes c if nothing is left to be done for it. This is the case if c has no
// subscribers, is not subscribed on Redis, and is not waiting for the reconcile loop or a reply.
func (b *core) deleteIfUnusedLocked(c *channelState) {
	if c.snapshot.Load().subscribers == nil && !c.subscribeSent && c.pendingReplies == 0 && !c.dirty {
		delete(b.channels, c.name)
	}
}
