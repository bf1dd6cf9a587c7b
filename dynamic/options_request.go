package dynamic

import (
	"context"
	"time"
)

type requestOptions struct {
	timeout   time.Duration  // 0: none was set
	selection *SelectionOpts // nil: adaptive
	topic     []string
	hasTopic  bool
	metadata  map[string]string
	expected  int       // responses to a multi call; 0: not known
	serverIDs []*string // where the server's id goes

	bufferSize int // updates, or messages of a stream; 0: the default
	overflow   OverflowPolicy
	window     int // messages of a stream; 0: none

	interceptors *clientInterceptors // nil: none
}

// newRequestOptions allocates nothing if there are none.
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

// WithRequestTimeout bounds this call, instead of the timeout of the conn; the context's deadline still
// counts. 0 or less changes nothing.
func WithRequestTimeout(timeout time.Duration) RequestOption {
	return requestOption(func(o *requestOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionOpts says how the server of this call or stream is chosen. All its fields count, the zero ones too.
// It is of no effect where servers do not claim: for multi calls, and for methods with a single server.
func WithSelectionOpts(opts SelectionOpts) RequestOption {
	return requestOption(func(o *requestOptions) { o.selection = &opts })
}

// WithTopic addresses this call to a topic, as [Client.Topic] does for a client.
func WithTopic(parts ...string) RequestOption {
	return requestOption(func(o *requestOptions) { o.topic, o.hasTopic = parts, true })
}

// WithExpectedResponses ends a multi call as soon as so many servers have responded. 0 or less changes nothing.
func WithExpectedResponses(n int) RequestOption {
	return requestOption(func(o *requestOptions) { o.expected = max(n, 0) })
}

// WithBufferSize sets how many updates, or one more, may wait in a subscription whose reader lags. The default, also for
// 0 or less, is as many as fit into [DefaultBacklogBytes].
func WithBufferSize(updates int) RequestOption {
	return requestOption(func(o *requestOptions) { o.bufferSize = max(updates, 0) })
}

// WithOverflow says what happens to updates that come when a subscription's buffer is full. The default is
// [DropOldest].
func WithOverflow(overflow OverflowPolicy) RequestOption {
	return requestOption(func(o *requestOptions) { o.overflow = overflow })
}

// outgoingMetadata returns what a call with these options carries.
func (o *requestOptions) outgoingMetadata(ctx context.Context) map[string]string {
	if len(o.metadata) == 0 {
		return outgoingMetadata(ctx)
	}
	return outgoingMetadata(ContextWithMetadata(ctx, o.metadata))
}

// WithPeer has *serverID set, when the call ends, to the id of the server that has answered it, or else of the one that was
// selected to; empty if neither is known. It is of effect for single calls. An interceptor may add it, if serverID is its own.
func WithPeer(serverID *string) RequestOption {
	return requestOption(func(o *requestOptions) { o.serverIDs = append(o.serverIDs, serverID) })
}
