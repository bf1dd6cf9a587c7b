package dynamic

import (
	"cmp"
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// StreamOption configures one Send on a stream.
type StreamOption interface{ applySend(o *sendOptions) }

type sendOptions struct {
	timeout time.Duration
	ctx     context.Context //nolint:containedctx // of one Send
	done    <-chan struct{} // of a context that the caller gave
}

func newSendOptions(opts []StreamOption, s *stream) sendOptions {
	o := sendOptions{timeout: s.timeout, ctx: s.context}
	for _, opt := range opts {
		opt.applySend(&o)
	}
	return o
}

type sendOption func(*sendOptions)

func (f sendOption) applySend(o *sendOptions) { f(o) }

// WithStreamTimeout bounds this Send. The default, also for 0 or less, is the timeout of the call that opened the
// stream on the client, and [WithServerTimeout] on the server. In a window (see [WithStreamWindow]) it bounds first
// the wait for room, and then that for the acknowledgement.
func WithStreamTimeout(timeout time.Duration) StreamOption {
	return sendOption(func(o *sendOptions) {
		if timeout > 0 {
			o.timeout = min(timeout, maxTimeout)
		}
	})
}

// WithStreamContext lets this Send end with ctx, too. The message may have been received all the same.
func WithStreamContext(ctx context.Context) StreamOption {
	return sendOption(func(o *sendOptions) { o.ctx, o.done = ctx, ctx.Done() })
}

// StreamSetting configures a stream on either side: it is given to OpenStream or to [Stream].
type StreamSetting interface {
	RequestOption
	StreamHandlerOption
}

type streamSetting struct{ buffer, window int } // 0: not set

func (s streamSetting) applyRequest(o *requestOptions) { s.apply(&o.bufferSize, &o.window) }

func (s streamSetting) bindStream(bound *boundStream, _ *registry.Method) error {
	s.apply(&bound.buffer, &bound.window)
	return nil
}

func (s streamSetting) apply(buffer, window *int) {
	*buffer, *window = cmp.Or(s.buffer, *buffer), cmp.Or(s.window, *window)
}

// WithStreamBuffer sets how many messages that came, and were acknowledged, wait in the stream's channel for their
// reader. The default, also for 0 or less, is [DefaultStreamBuffer].
func WithStreamBuffer(messages int) StreamSetting { return streamSetting{buffer: max(messages, 0)} }

// WithStreamWindow lets up to n messages be on their way without an acknowledgement. Send then returns when the
// message was sent, which waits for room in the window, and the order is kept. A message that is not acknowledged
// makes the next Send or Flush fail. Streams on both sides have Flush, see [Flusher]. The default, also for 1 or
// less, is no window: Send returns when its message was acknowledged.
func WithStreamWindow(n int) StreamSetting { return streamSetting{window: max(n, 0)} }
