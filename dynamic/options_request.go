package dynamic

import (
	"context"
	"time"
)

type requestOptions struct {
	// timeout is the timeout set with WithRequestTimeout, or 0 if the option is not used.
	timeout time.Duration
	// selection points to the options passed to WithSelectionOpts. It is nil if there are none.
	selection *SelectionOpts
	topic     []string
	hasTopic  bool
	metadata  map[string]string
	// expected is the number of responses after which a multi call ends. It is 0 if
	// WithExpectedResponses is not used.
	expected int
	// serverIDs holds the pointers passed to WithPeer. When the call ends, the ID of the server
	// that answered is stored in each of the variables.
	serverIDs []*string

	// bufferSize is the buffer size of a subscription in updates, or of a stream in messages. It is
	// 0 if the default size is to be used.
	bufferSize int
	overflow   OverflowPolicy
	// window is the send window of a stream, in messages. It is 0 if the stream has no window.
	window int

	// interceptors holds the interceptors of this request only. It is nil if there are none.
	interceptors *clientInterceptors
}

// newRequestOptions applies opts and returns the result. The most common case, in which opts is
// empty, is handled before o is declared, because o is allocated on the heap.
func newRequestOptions(opts []RequestOption) requestOptions {
	if len(opts) == 0 {
		return requestOptions{}
	}
	var o requestOptions
	for _, opt := range opts {
		opt.applyRequest(&o)
	}
	return o
}

type requestOption func(*requestOptions)

func (f requestOption) applyRequest(o *requestOptions) { f(o) }

// WithRequestTimeout sets the timeout of a call. It overrides the timeout of the conn, but the
// deadline of the context still applies. If timeout is zero or negative, the option has no effect.
func WithRequestTimeout(timeout time.Duration) RequestOption {
	return requestOption(func(o *requestOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionOpts sets how a server is selected for a call or stream. All fields are used as they
// are: zero fields are not replaced by defaults. The option has no effect on multi calls or on
// methods whose servers do not claim requests.
func WithSelectionOpts(opts SelectionOpts) RequestOption {
	return requestOption(func(o *requestOptions) { o.selection = &opts })
}

// WithTopic sets the topic of a call, stream, subscription or update. Use [Client.Topic] to set the
// topic for all calls of a client.
func WithTopic(parts ...string) RequestOption {
	return requestOption(func(o *requestOptions) { o.topic, o.hasTopic = parts, true })
}

// WithExpectedResponses ends a multi call as soon as n servers have responded. Without this option,
// multi calls last until their timeout if the bus does not report how many receivers a request has
// reached. NATS, and Redis Cluster without sharded pub/sub, do not report this. If n is zero or
// negative, the option has no effect.
func WithExpectedResponses(n int) RequestOption {
	return requestOption(func(o *requestOptions) { o.expected = max(n, 0) })
}

// WithBufferSize sets how many updates a subscription buffers if its reader is slow. The
// subscription may hold one additional update. By default, or if updates is zero or negative, it
// buffers as many updates as fit into [DefaultBacklogBytes].
func WithBufferSize(updates int) RequestOption {
	return requestOption(func(o *requestOptions) { o.bufferSize = max(updates, 0) })
}

// WithOverflow sets what happens to updates that arrive while the buffer of a subscription is full.
// The default is [DropOldest].
func WithOverflow(overflow OverflowPolicy) RequestOption {
	return requestOption(func(o *requestOptions) { o.overflow = overflow })
}

// outgoingMetadata returns the metadata to send with the request. It merges the metadata of ctx
// with that of the options, which take precedence.
func (o *requestOptions) outgoingMetadata(ctx context.Context) map[string]string {
	if len(o.metadata) == 0 {
		return outgoingMetadata(ctx)
	}
	return outgoingMetadata(ContextWithMetadata(ctx, o.metadata))
}

// WithPeer stores the ID of the server that answered a call in *serverID when the call ends. If no
// server answered, WithPeer stores the ID of the selected server, or an empty string if no server
// was selected. The option applies only to single calls. An interceptor may add this option with
// its own variable.
func WithPeer(serverID *string) RequestOption {
	return requestOption(func(o *requestOptions) { o.serverIDs = append(o.serverIDs, serverID) })
}

// RequestOption configures a call, stream, subscription or update.
type RequestOption interface{ applyRequest(o *requestOptions) }

// OverflowPolicy determines what happens to updates that arrive while the buffer of a subscription
// is full.
type OverflowPolicy uint8

const (
	// DropOldest drops the oldest buffered update to make room for the new one. It is the default.
	// Without [WithBufferSize], updates that are already in the subscription's channel (at most
	// 1024) are not dropped; the oldest update that waits behind them is dropped instead.
	DropOldest OverflowPolicy = iota
	// DropNewest drops the new update.
	DropNewest
	// EndSubscription ends the subscription with errors.ErrSlowConsumer.
	EndSubscription
)

// WithMetadata attaches metadata to a call, stream or update, in addition to the metadata of its
// context. If both contain the same key, the value passed to WithMetadata is used.
func WithMetadata(metadata map[string]string) RequestOption {
	return requestOption(func(o *requestOptions) { o.metadata = metadata })
}
