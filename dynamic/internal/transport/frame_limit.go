package transport

import (
	"context"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// limitedBus is a bus that sends and receives only frames up to a maximum size.
type limitedBus struct {
	bus.Bus

	// maxSize is the maximum size of a frame in bytes.
	maxSize int
	dropped func(channel bus.Channel, err error)
}

// LimitFrames returns a bus that publishes and delivers only frames of at most maxSize bytes.
// Publish returns an error that wraps bus.ErrFrameTooLarge for larger frames. Larger frames that
// arrive from the bus are discarded and passed to the function dropped, which must not block. If
// maxSize is zero or negative, LimitFrames returns b itself.
func LimitFrames(b bus.Bus, maxSize int, dropped func(channel bus.Channel, err error)) bus.Bus {
	if maxSize <= 0 {
		return b
	}
	return &limitedBus{Bus: b, maxSize: maxSize, dropped: dropped}
}

// Publish implements bus.Bus.
func (b *limitedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if len(frame) > b.maxSize {
		return errors.NewErrorf(errors.ResourceExhausted, "%w: %d bytes on channel %.200s, the limit of this server or conn is %d",
			bus.ErrFrameTooLarge, len(frame), channel, b.maxSize)
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// Subscribe implements bus.Bus.
func (b *limitedBus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	return b.Bus.Subscribe(ctx, channel, mode, func(frame []byte) {
		if len(frame) > b.maxSize {
			b.dropped(channel, bus.ErrFrameTooLarge)
			return
		}
		deliver(frame)
	})
}

// maxShortText is the maximum number of bytes of an error's text that ShortenError keeps.
const maxShortText = 256

// ShortenError shortens the text of an error that is too large to be sent in a frame. It returns
// the beginning of text, followed by the text of tooLarge. tooLarge is the error that the bus has
// returned.
func ShortenError(text string, tooLarge error) string {
	return Shorten(text, maxShortText) + " (shortened: " + tooLarge.Error() + ")"
}

// Shorten returns text if it has at most size bytes. Otherwise it returns the beginning of text,
// which has at most size bytes, followed by three dots.
func Shorten(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "") + "..."
}
