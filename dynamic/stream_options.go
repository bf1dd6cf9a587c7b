package dynamic

import (
	"cmp"
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// StreamOption configures one call to Send on a stream.
type StreamOption interface{ applySend(o *sendOptions) }

type sendOptions struct {
	timeout time.Duration
	ctx     context.Context //nolint:containedctx // it has the lifetime of one Send
	// done is the Done channel of the context set by WithStreamContext. It is nil if that option is
	// not used.
	done <-chan struct{}
}

func newSendOptions(opts []StreamOption, s *stream) sendOptions {
	o := sendOptions{timeout: s.timeout, ctx: s.context}
	for _, opt := range opts {
		if opt != nil {
			opt.applySend(&o)
		}
	}
	return o
}

type sendOption func(*sendOptions)

func (f sendOption) applySend(o *sendOptions) { f(o) }

// WithStreamTimeout sets the time limit for one call to Send. If timeout is zero or negative, or if
// the option is not used, a default limit applies. On a client, the default is the timeout that was
// used to open the stream. On a server, it is the timeout set by [WithServerTimeout]. If the stream
// has a send window (see [WithStreamWindow]), Send waits for a free slot no longer than the limit.
// The acknowledgement must then arrive within the limit, too.
func WithStreamTimeout(timeout time.Duration) StreamOption {
	return sendOption(func(o *sendOptions) {
		if timeout > 0 {
			o.timeout = min(timeout, maxTimeout)
		}
	})
}

// WithStreamContext sets a context for one call to Send. If ctx ends before Send has succeeded,
// Send returns an error, but the other side may still have received the message. If ctx is nil, the
// option has no effect.
func WithStreamContext(ctx context.Context) StreamOption {
	return sendOption(func(o *sendOptions) {
		if ctx != nil {
			o.ctx, o.done = ctx, ctx.Done()
		}
	})
}

// StreamSetting configures either side of a stream. Pass it to [Client.OpenStream] on a client or
// to [Stream] on a server. If it is passed to [NewConn], [NewServer] or [Server.Register], it is the
// default for all streams of the conn, server or service.
type StreamSetting interface {
	CommonOption
	RequestOption
	StreamHandlerOption
}

// streamSetting is the only implementation of StreamSetting. A field that is zero changes nothing.
type streamSetting struct{ buffer, window int }

func (s streamSetting) applyRequest(o *requestOptions) { s.apply(&o.bufferSize, &o.window) }

func (s streamSetting) applyConn(o *connOptions) { o.streamDefaults = append(o.streamDefaults, s) }

func (s streamSetting) applyServer(o *serverOptions) {
	s.apply(&o.streamDefaults.buffer, &o.streamDefaults.window)
}

func (s streamSetting) applyRegister(o *registerOptions) {
	s.apply(&o.streamDefaults.buffer, &o.streamDefaults.window)
}

func (s streamSetting) bindStream(bound *boundStream, _ *registry.Method) error {
	s.apply(&bound.buffer, &bound.window)
	return nil
}

func (s streamSetting) apply(buffer, window *int) {
	*buffer, *window = cmp.Or(s.buffer, *buffer), cmp.Or(s.window, *window)
}

// applyDefault sets the fields of bound that the options of the handler have not set.
func (s streamSetting) applyDefault(bound *boundStream) {
	bound.buffer, bound.window = cmp.Or(bound.buffer, s.buffer), cmp.Or(bound.window, s.window)
}

// WithStreamBuffer sets the capacity of the stream's channel, in messages. The channel holds
// messages that have been acknowledged but not read. If capacity is zero or negative,
// [DefaultStreamBuffer] is used.
func WithStreamBuffer(capacity int) StreamSetting {
	if capacity <= 0 {
		capacity = DefaultStreamBuffer
	}
	return streamSetting{buffer: capacity}
}

// WithStreamWindow sets the size of the stream's send window. This is the maximum number of
// messages that may be waiting for an acknowledgement. With a window, Send waits only for a free
// slot, sends the message, and returns without waiting for the acknowledgement. The order of
// messages is preserved. If messages are not acknowledged, the next Send or Flush returns an
// [UnacknowledgedError] with their numbers. If Send returns this error, it has not sent its own
// message. Both sides of a stream can call Flush; see [Flusher].
//
// A window is used only if the other side has announced a keepalive interval (see [WithKeepalive]),
// because only dynpsrpc peers do so. psrpc peers drop messages for which they have no room, so
// messages in the middle of a window could be lost.
//
// By default, or if n is at most 1, there is no window. Send then waits for the acknowledgement of
// its message, which takes one round trip. Windows of 64 to 1024 messages increase the throughput
// by a factor of 13 to 40.
func WithStreamWindow(n int) StreamSetting { return streamSetting{window: max(n, 1)} }
