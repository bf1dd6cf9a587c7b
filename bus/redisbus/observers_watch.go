package redisbus

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

const (
	// observerCheckInterval is the minimum time between two checks for observers.
	observerCheckInterval = time.Second
	// observerExpiry is how long observers are assumed to be present after one has received a
	// frame.
	observerExpiry = 10 * time.Second
)

// watchObservers checks for observers until the bus is closed, or until Redis denies a command.
func (b *Bus) watchObservers() {
	var seen time.Time
	for {
		select {
		case <-b.observers.wakeup:
		case <-b.ctx.Done():
			return
		}
		found, err := b.findObserver(b.observers.take())
		if resp.HasCode(err, "NOPERM") {
			b.observers.present.Store(false)
			b.options.Logger.Warn("redis bus counts pattern subscribers as receivers, so calls may wait for them in vain",
				"error", err)
			return
		}
		if found {
			seen = time.Now()
		}
		b.observers.present.Store(time.Since(seen) < observerExpiry)
		if !b.sleep(observerCheckInterval) {
			return
		}
	}
}

// findObserver reports whether any frame has reached more connections than its channel has
// subscribers. receivers contains the number of connections that a frame has reached, by channel.
func (b *Bus) findObserver(receivers map[string]int64) (bool, error) {
	ctx, cancel := context.WithTimeout(b.ctx, b.options.ProbeInterval)
	defer cancel()
	if !b.isConnected() {
		return false, nil
	}
	patterns, err := b.client.PubSubNumPat(ctx).Result()
	if err != nil || patterns == 0 {
		return false, err
	}
	channels := map[string]bool{}
	for channel := range receivers {
		channels[channel] = true
	}
	subscribers, err := b.topology.subscribers(ctx, channels)
	if err != nil {
		return false, err
	}
	for channel, n := range receivers {
		if n > subscribers[channel] {
			return true, nil
		}
	}
	return false, nil
}
