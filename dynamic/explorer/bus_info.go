package explorer

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// brokerTimeout limits how long a page waits for the broker.
const brokerTimeout = 3 * time.Second

// busInfo describes the bus and its broker.
type busInfo struct {
	Kind    string   `json:"kind"`
	Prefix  string   `json:"-"`
	Modes   []string `json:"modes,omitempty"`
	Broker  string   `json:"broker,omitempty"`
	Version string   `json:"version,omitempty"`
	Address string   `json:"address,omitempty"`
	Nodes   []string `json:"nodes,omitempty"`
	RTT     *float64 `json:"rtt"`
	Limits  limits   `json:"limits"`
	// Problem is the error of the request for information about the broker, or null.
	Problem *problem `json:"problem,omitempty"`
}

// limits contains the limits of the bus and the broker, in bytes. 0 stands for no limit.
type limits struct {
	FrameSize        int64 `json:"frameSize"`
	OutputBufferHard int64 `json:"outputBufferHard"`
	OutputBufferSoft int64 `json:"outputBufferSoft"`
	MaxMemory        int64 `json:"maxMemory"`
	UsedMemory       int64 `json:"usedMemory"`
	Connections      int   `json:"connections"`
}

// askBus gets information about the broker. If the broker is down, the error is part of the result,
// because the pages show it.
func askBus(ctx context.Context, b bus.Bus) (*busInfo, error) {
	informed, ok := b.(bus.Informed)
	if !ok {
		return &busInfo{Kind: "unknown"}, nil
	}
	settings := informed.Settings()
	info := &busInfo{Kind: settings.Kind, Prefix: settings.Prefix, Modes: settings.Modes, Limits: limits{FrameSize: settings.MaxFrameSize}}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	told, err := informed.Info(ctx)
	if err != nil {
		info.Problem = new(problemOf(err))
		return info, nil
	}
	info.Broker, info.Version, info.Address, info.Nodes = told.Software, told.Version, told.Address, told.Nodes
	info.RTT = new(seconds(told.RoundTrip))
	info.Limits = limits{
		FrameSize: told.MaxFrameSize, OutputBufferHard: told.OutputBuffer.Hard, OutputBufferSoft: told.OutputBuffer.Soft,
		MaxMemory: told.MaxMemory, UsedMemory: told.UsedMemory, Connections: told.Connections,
	}
	return info, nil
}
