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
	ctx     context.Context //nolint:containedctx // it has the lifetime of one Send
	// done is the Done channel of the context that WithStreamContext set. It is nil without the
	// option.
	done <-chan struct{}
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

// WithStreamTimeout sets the time limit of this Send. The default, also for a zero or negative
// timeout, is the timeout of the call that opened the stream on the client, and [WithServerTimeout]
// on the server. In a window (see [WithStreamWindow]) the limit applies twice: to the wait for a
// free slot, and then to the wait for the acknowledgement.
func WithStreamTimeout(timeout time.Duration) StreamOption {
	return sendOption(func(o *sendOptions) {
		if timeout > 0 {
			o.timeout = min(timeout, maxTimeout)
		}
	})
}

// WithStreamContext makes this Send return with an error when ctx ends. The message may have been
// received nevertheless.
func WithStreamContext(ctx context.Context) StreamOption {
	return sendOption(func(o *sendOptions) { o.ctx, o.done = ctx, ctx.Done() })
}

// StreamSetting configures a stream on either side. Pass it to [Client.OpenStream] on a client and
// to [Stream] on a server.
type StreamSetting interface {
	RequestOption
	StreamHandlerOption
}

// streamSetting is a StreamSetting. A zero field leaves the value of an earlier option unchanged.
type streamSetting struct{ buffer, window int }

func (s streamSetting) applyRequest(o *requestOptions) { s.apply(&o.bufferSize, &o.window) }

func (s streamSetting) bindStream(bound *boundStream, _ *registry.Method) error {
	s.apply(&bound.buffer, &bound.window)
	return nil
}

func (s streamSetting) apply(buffer, window *int) {
	*buffer, *window = cmp.Or(s.buffer, *buffer), cmp.Or(s.window, *window)
}

// WithStreamBuffer sets how many received and acknowledged messages the stream's channel holds for
// its reader. The default, also for zero or negative values, is [DefaultStreamBuffer].
func WithStreamBuffer(messages int) StreamSetting { return streamSetting{buffer: max(messages, 0)} }

// WithStreamWindow allows up to n messages to be sent without an acknowledgement. Send then waits
// for a free slot in the window, sends the message and returns without waiting for the
// acknowledgement; the order of messages is kept. If a message is not acknowledged, the next Send
// or Flush returns the error. Streams on both sides have Flush, see [Flusher].
//
// By default, and for n of at most 1, there is no window: Send returns when its message was
// acknowledged, which takes a round trip. Windows of 64 and 1024 messages send 13 to 40 times as
// many messages per second.
func WithStreamWindow(n int) StreamSetting { return streamSetting{window: max(n, 0)} }
