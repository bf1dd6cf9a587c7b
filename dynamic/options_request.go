package dynamic

import (
	"context"
	"time"
)

type requestOptions struct {
	// timeout is 0 unless WithRequestTimeout sets it.
	timeout time.Duration
	// selection is nil for an adaptive selection.
	selection *SelectionOpts
	topic     []string
	hasTopic  bool
	metadata  map[string]string
	// expected is the number of responses to a multi call, 0 if unknown.
	expected int
	// serverIDs receive the id of the answering server, see WithPeer.
	serverIDs []*string

	// bufferSize is the buffer size of a subscription in updates, or of a stream in messages; 0
	// selects the default.
	bufferSize int
	overflow   OverflowPolicy
	// window is the window of a stream in messages; 0 for none.
	window int

	// interceptors is nil if the request has none of its own.
	interceptors *clientInterceptors
}

// newRequestOptions returns the options of a request. It returns early without options: o escapes
// to the heap, and most calls have no options.
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

// WithRequestTimeout sets the timeout of this call, in place of the timeout of the conn. The
// deadline of the context still applies. Zero and negative values have no effect.
func WithRequestTimeout(timeout time.Duration) RequestOption {
	return requestOption(func(o *requestOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionOpts sets how the server of this call or stream is selected. All fields apply: a
// field that is zero does not mean its default. The option has no effect on multi calls and on
// methods with a single server, where servers do not claim requests.
func WithSelectionOpts(opts SelectionOpts) RequestOption {
	return requestOption(func(o *requestOptions) { o.selection = &opts })
}

// WithTopic sets the topic of this call, stream, subscription or update, as [Client.Topic] does for
// all calls of a client.
func WithTopic(parts ...string) RequestOption {
	return requestOption(func(o *requestOptions) { o.topic, o.hasTopic = parts, true })
}

// WithExpectedResponses ends a multi call as soon as n servers have responded. Without it, multi
// calls over buses that do not count the receivers of a request, which are NATS and Redis Cluster,
// last their whole timeout. Zero and negative values have no effect.
func WithExpectedResponses(n int) RequestOption {
	return requestOption(func(o *requestOptions) { o.expected = max(n, 0) })
}

// WithBufferSize sets how many updates a subscription buffers for a reader that lags. One more may
// be buffered. The default, also for zero or negative values, is as many as fit into
// [DefaultBacklogBytes].
func WithBufferSize(updates int) RequestOption {
	return requestOption(func(o *requestOptions) { o.bufferSize = max(updates, 0) })
}

// WithOverflow sets what happens to updates that arrive while the buffer of a subscription is full.
// The default is [DropOldest].
func WithOverflow(overflow OverflowPolicy) RequestOption {
	return requestOption(func(o *requestOptions) { o.overflow = overflow })
}

// outgoingMetadata returns the metadata of the request: the metadata of ctx and of the options.
func (o *requestOptions) outgoingMetadata(ctx context.Context) map[string]string {
	if len(o.metadata) == 0 {
		return outgoingMetadata(ctx)
	}
	return outgoingMetadata(ContextWithMetadata(ctx, o.metadata))
}

// WithPeer stores the id of the server that answered in *serverID when the call ends. If no server
// answered, it stores the id of the selected server, or an empty string if there is none. It
// applies to single calls only. An interceptor may add it with a variable of its own.
func WithPeer(serverID *string) RequestOption {
	return requestOption(func(o *requestOptions) { o.serverIDs = append(o.serverIDs, serverID) })
}

// RequestOption configures one call, stream, subscription or update.
type RequestOption interface{ applyRequest(o *requestOptions) }

// OverflowPolicy selects what happens to updates when the buffer of a subscription is full.
type OverflowPolicy uint8

const (
	// DropOldest drops the oldest waiting update to make room for the new one. It is the default.
	// Without [WithBufferSize] the channel's updates (at most 1024) do not count as waiting: the
	// oldest update behind them is dropped.
	DropOldest OverflowPolicy = iota
	// DropNewest drops the new update.
	DropNewest
	// EndSubscription ends the subscription with errors.ErrSlowConsumer.
	EndSubscription
)

// WithMetadata attaches metadata to one call, stream or update, in addition to the metadata of its
// context. It overrides existing keys of the context's metadata.
func WithMetadata(metadata map[string]string) RequestOption {
	return requestOption(func(o *requestOptions) { o.metadata = metadata })
}
