package bus

import (
	"context"
	"iter"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var (
	_ Inspector = (*Local)(nil)
	_ Informed  = (*Local)(nil)
)

// Count returns the exact number of subscriptions of each channel.
func (b *Local) Count(ctx context.Context, channels ...Channel) ([]int, error) {
	if err := b.checkOpen(ctx); err != nil {
		return nil, err
	}
	counts := make([]int, len(channels))
	for i, channel := range channels {
		counts[i] = b.subscribers(channel.Name).Len()
	}
	return counts, nil
}

// Scan visits the channels that have subscriptions at the time of the call.
func (b *Local) Scan(ctx context.Context) iter.Seq2[Presence, error] {
	return func(yield func(Presence, error) bool) {
		if err := b.checkOpen(ctx); err != nil {
			yield(Presence{}, err)
			return
		}
		found := map[string]*fanout.Subscribers{}
		var names []string
		for name, subscribers := range b.channels.Range {
			names = append(names, name.(string))
			found[name.(string)] = subscribers.(*fanout.Subscribers)
		}
		for name, parts := range wire.ParseNames(names) {
			subscribers := found[name]
			presence := Presence{
				Channel: name, Service: parts.Service, Method: parts.Method, Topic: parts.Topic, Carries: parts.Carries,
				Queue: subscribers.HasQueue(), ClientID: parts.ClientID, Address: parts.Address, Receivers: subscribers.Len(),
			}
			if !yield(presence, nil) {
				return
			}
		}
	}
}

// Prefixes returns one empty prefix if there are channels, because the channels of the in-process
// bus have no prefix.
func (b *Local) Prefixes(ctx context.Context) ([]string, error) {
	for _, err := range b.Scan(ctx) {
		if err != nil {
			return nil, err
		}
		return []string{""}, nil
	}
	return nil, nil
}

// Peers returns nothing, because the in-process bus has no connections.
func (b *Local) Peers(ctx context.Context) ([]Peer, error) { return nil, b.checkOpen(ctx) }

// Settings returns the settings of the bus.
func (b *Local) Settings() Settings {
	return Settings{Kind: "local", MaxFrameSize: int64(max(b.maxFrameSize, 0))}
}

// RoundTrip returns 0, because the in-process bus has no broker.
func (b *Local) RoundTrip(ctx context.Context) (time.Duration, error) { return 0, b.checkOpen(ctx) }

// Info returns the settings of the bus.
func (b *Local) Info(ctx context.Context) (Info, error) {
	if err := b.checkOpen(ctx); err != nil {
		return Info{}, err
	}
	return Info{Settings: b.Settings()}, nil
}

// checkOpen returns an error if ctx is nil or has ended, or if the bus is closed.
func (b *Local) checkOpen(ctx context.Context) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	if b.closed.Load() {
		return ErrClosed
	}
	return nil
}
