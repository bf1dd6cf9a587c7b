package fleet

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// describeBus returns the state and counters of a bus. It waits for at most timeout until the broker
// answers.
func describeBus(ctx context.Context, b bus.Bus, timeout time.Duration) *Bus {
	described := &Bus{Kind: "unknown", Connected: true}
	if informed, ok := b.(bus.Informed); ok {
		settings := informed.Settings()
		described.Kind, described.Prefix, described.Modes = settings.Kind, settings.Prefix, settings.Modes
		described.RedisDB = int32(settings.Database) //nolint:gosec // Redis has few databases
		described.RTT = roundTrip(ctx, informed, timeout)
	}
	if monitored, ok := b.(bus.Monitored); ok {
		stats := monitored.Stats()
		described.Connected, described.Disconnects = stats.Connected, stats.Disconnects
		described.Published, described.PublishErrors = stats.Published, stats.PublishErrors
		described.Received, described.Dropped = stats.Received, stats.Dropped
	}
	return described
}

// roundTrip returns how long the broker takes to answer. It returns 0 if the broker does not answer
// within timeout.
func roundTrip(ctx context.Context, b bus.Informed, timeout time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	took, err := b.RoundTrip(ctx)
	if err != nil {
		return 0
	}
	return took
}
