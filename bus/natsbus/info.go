package natsbus

import (
	"context"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

var _ bus.Informed = (*Bus)(nil)

// kind is the kind of the bus, and the name of its broker.
const kind = "nats"

// Settings returns the settings of the bus.
func (b *Bus) Settings() bus.Settings {
	s := bus.Settings{Kind: kind, Prefix: b.options.Prefix, MaxFrameSize: b.conn.maxPayload.Load()}
	if b.options.subjectPerMethod {
		s.Modes = []string{"subject_per_method"}
	}
	return s
}

// serverFacts contains the fields of a server's VARZ answer that the bus needs.
type serverFacts struct {
	Connections   int   `json:"connections"`
	SlowConsumers int64 `json:"slow_consumers"`
	MaxPending    int64 `json:"max_pending"`
}

// RoundTrip returns the time that the server takes to answer a PING.
func (b *Bus) RoundTrip(ctx context.Context) (time.Duration, error) {
	if err := b.checkInspection(ctx); err != nil {
		return 0, err
	}
	started := time.Now()
	pingCtx, cancel := context.WithTimeout(ctx, b.options.ProbeInterval)
	defer cancel()
	if err := b.conn.get().FlushWithContext(pingCtx); err != nil {
		if err := b.checkInspection(ctx); err != nil {
			return 0, err
		}
		return 0, errors.NewErrorf(errors.Unavailable, "nats bus: the server does not answer: %w", err)
	}
	return time.Since(started), nil
}

// Info returns facts about the server. With [WithMonitor], they include the numbers of connections
// and slow consumers of all servers, and the limit of the output buffer.
func (b *Bus) Info(ctx context.Context) (bus.Info, error) {
	roundTrip, err := b.RoundTrip(ctx)
	if err != nil {
		return bus.Info{}, err
	}
	nc := b.conn.get()
	info := bus.Info{
		Settings: b.Settings(), Software: kind, Version: nc.ConnectedServerVersion(), Address: nc.ConnectedAddr(),
		RoundTrip: roundTrip, Cluster: nc.ConnectedClusterName(),
	}
	if servers := nc.Servers(); len(servers) > 1 {
		for _, server := range servers {
			_, address, _ := strings.Cut(server, "://")
			info.Nodes = append(info.Nodes, address)
		}
	}
	if b.monitor == nil {
		info.Withheld = []string{"connections, slow consumers, output buffer: " + errNoMonitor.Error()}
		return info, nil
	}
	err = b.monitor.each(ctx, func(node monitorNode) error {
		var facts serverFacts
		if err := node.ask(ctx, "VARZ", question{}, &facts); err != nil {
			return err
		}
		info.Connections += facts.Connections
		info.SlowConsumers += facts.SlowConsumers
		info.OutputBuffer.Hard = facts.MaxPending
		return nil
	})
	if ctx.Err() != nil {
		return bus.Info{}, ctx.Err()
	}
	if err != nil {
		info.Withheld = []string{"connections, slow consumers, output buffer: " + err.Error()}
	}
	return info, nil
}
