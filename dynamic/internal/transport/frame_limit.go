package transport

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// limitedBus refuses to send frames over a size, and drops those that come.
type limitedBus struct {
	bus.Bus

	max     int // bytes
	dropped *atomic.Uint64
}

// LimitFrames returns b itself if there is no limit.
func LimitFrames(b bus.Bus, bytes int, dropped *atomic.Uint64) bus.Bus {
	if bytes <= 0 {
		return b
	}
	return &limitedBus{Bus: b, max: bytes, dropped: dropped}
}

// Publish fails with bus.ErrFrameTooLarge.
func (b *limitedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if len(frame) > b.max {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %s, the limit set here is %d",
			bus.ErrFrameTooLarge, len(frame), channel, b.max)
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// Subscribe delivers what is not too large.
func (b *limitedBus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	return b.Bus.Subscribe(ctx, channel, mode, func(frame []byte) {
		if len(frame) > b.max {
			b.dropped.Add(1)
			return
		}
		deliver(frame)
	})
}
