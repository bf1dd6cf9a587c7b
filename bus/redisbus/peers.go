package redisbus

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// peerCheckInterval is the minimum time between two checks for psrpc processes.
	peerCheckInterval = 250 * time.Millisecond
	// peerExpiry is the time without frames after which watchPeers no longer watches a channel.
	peerExpiry = 10 * time.Second
	// psrpcPatience is the time after which this process stops leaving frames to psrpc processes if
	// none of them has taken a lock. They may be suspended or too slow.
	psrpcPatience = 10 * time.Second
	// psrpcPause is how long this process leaves no frames to psrpc processes after psrpcPatience
	// has passed. The pause ends early if one of them takes a lock.
	psrpcPause = 30 * time.Second
	// markerSuffix is added to the name of a channel to get the name of its marker channel, on
	// which nothing is published. Each dynpsrpc process that competes for the frames of a channel
	// subscribes to both channels. Redis reports how many processes subscribe to a channel, but not
	// which ones. The difference between the numbers for the two channels is the number of psrpc
	// processes.
	markerSuffix = "|MARKER"
)

// watchedChannel is the state of a queue's channel on which other processes compete for frames.
type watchedChannel struct {
	// marker is the subscription to the marker channel; see [Bus.watchPeers].
	marker bus.Subscription
	// frames is the value of share.frames at the last check. changed is the time of the check at
	// which this value last changed.
	frames  int64
	changed time.Time
	// psrpcSince is the time of the check that first found psrpc processes. It is zero if the last
	// check found none.
	psrpcSince time.Time
	// psrpcSeen is the last time at which a psrpc process is known to have taken a lock. It is also
	// set when this process starts to leave frames to psrpc processes, so that they have
	// psrpcPatience to take a lock.
	psrpcSeen time.Time
}

// watchPeers runs until the bus is closed. On channels with psrpc processes, it limits how many
// queue frames this process takes (see [share]). If Redis denies a command or a marker channel, it
// removes all limits and returns.
func (b *Bus) watchPeers() {
	watched := map[*channelState]*watchedChannel{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.peerSigns.wakeup:
		case <-timer.C:
		case <-b.ctx.Done():
			return
		}
		err := b.checkPeers(watched)
		if resp.HasCode(err, "NOPERM") || errors.Is(err, errors.PermissionDenied) {
			b.options.Logger.Warn("redis bus may take more than its share of the frames of a queue, because it"+
				" cannot tell psrpc processes from others", "error", err)
			for c := range watched {
				unwatch(watched, c)
			}
			return
		}
		if !b.sleep(peerCheckInterval) {
			return
		}
		if len(watched) > 0 {
			timer.Reset(0)
		}
	}
}

func unwatch(watched map[*channelState]*watchedChannel, c *channelState) {
	c.share.setLimit(false, 0)
	watched[c].marker.Close()
	delete(watched, c)
}

// checkPeers counts the subscribers of the channels in b.peerSigns, and of the watched channels
// that have had frames since the last check. If psrpc processes are among them, it limits how many
// frames of the channel this process takes. It starts to watch channels of peerSigns to which other
// processes also subscribe. It stops watching channels that have had no frames for peerExpiry or
// have no queue subscriber in this process.
func (b *Bus) checkPeers(watched map[*channelState]*watchedChannel) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.options.ProbeInterval)
	defer cancel()
	signs := b.peerSigns.take()
	if !b.isConnected() {
		return nil
	}
	now := time.Now()
	names := map[string]bool{}
	for _, sign := range signs {
		names[sign.channel.name] = true
	}
	for c, w := range watched {
		if frames := c.share.frames.Load(); frames != w.frames {
			w.frames, w.changed = frames, now
			names[c.name], names[c.name+markerSuffix] = true, true
		}
		if now.Sub(w.changed) > peerExpiry || !c.snapshot.Load().subscribers.HasQueue() {
			unwatch(watched, c)
		}
	}
	if len(names) == 0 {
		return nil
	}
	processes, err := b.topology.subscribers(ctx, names)
	if err != nil {
		return err
	}
	for _, sign := range signs {
		if c := sign.channel; watched[c] == nil && processes[c.name] > 1 && c.snapshot.Load().subscribers.HasQueue() {
			if err := b.watch(ctx, watched, c); err != nil {
				return err
			}
		}
	}
	for c, w := range watched {
		if names[c.name+markerSuffix] {
			w.setPSRPC(now, processes[c.name] > processes[c.name+markerSuffix])
			c.share.setLimit(w.isLimited(now), int(processes[c.name]))
		}
	}
	return b.findPSRPC(ctx, signs, watched)
}

// watch subscribes to the marker channel of c and adds c to watched.
func (b *Bus) watch(ctx context.Context, watched map[*channelState]*watchedChannel, c *channelState) error {
	marker := bus.Channel{Name: strings.TrimPrefix(c.name, b.options.Prefix) + markerSuffix}
	subscription, err := b.Subscribe(ctx, marker, bus.Broadcast, func([]byte) {})
	if err != nil {
		return err
	}
	watched[c] = &watchedChannel{marker: subscription, frames: -1, changed: time.Now()}
	return nil
}

// setPSRPC records whether a check has found psrpc processes among the subscribers of the channel.
// now is the time of the check.
func (w *watchedChannel) setPSRPC(now time.Time, exist bool) {
	switch {
	case !exist:
		w.psrpcSince = time.Time{}
	case w.psrpcSince.IsZero():
		w.psrpcSince, w.psrpcSeen = now, now
	case now.Sub(w.psrpcSeen) > psrpcPatience+psrpcPause:
		w.psrpcSeen = now
	}
}

// isLimited reports whether this process must leave frames to psrpc processes. A dynpsrpc process
// that has just subscribed looks like a psrpc process until it has subscribed to the marker
// channel. isLimited therefore returns false until two consecutive checks have found psrpc
// processes.
func (w *watchedChannel) isLimited(now time.Time) bool {
	return !w.psrpcSince.IsZero() && now.Sub(w.psrpcSince) >= peerCheckInterval && now.Sub(w.psrpcSeen) <= psrpcPatience
}

// findPSRPC finds the channels on which a psrpc process has taken a lock, and sets their psrpcSeen.
// The value of a lock shows whether psrpc has taken it: psrpc stores a random number, and this bus
// stores lockValue.
func (b *Bus) findPSRPC(ctx context.Context, signs []peerSign, watched map[*channelState]*watchedChannel) error {
	values := map[*redis.StringCmd]*watchedChannel{}
	_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, sign := range signs {
			if w := watched[sign.channel]; sign.lostLock != "" && w != nil && !w.psrpcSince.IsZero() {
				values[p.Get(ctx, sign.lostLock)] = w
			}
		}
		return nil
	})
	for value, w := range values {
		if value.Err() == nil && value.Val() != lockValue {
			w.psrpcSeen = time.Now()
		}
	}
	if errors.Is(err, redis.Nil) {
		// A lock has expired, so its value cannot be read any more.
		return nil
	}
	return err
}
