package dynamic

import (
	"context"
	"slices"
	"time"
)

type requestOptions struct {
	// timeout is the timeout set with WithRequestTimeout, or 0 if the option is not used.
	timeout time.Duration
	// selection points to the argument of WithSelectionOpts. It is nil if that option is not used.
	selection *SelectionOpts
	topic     []string
	hasTopic  bool
	metadata  map[string]string
	// expected is the number of responses after which a multi call ends. It is 0 if
	// WithExpectedResponses is not used.
	expected int
	// serverIDs holds the pointers passed to WithPeer. When the call ends, the ID of the server
	// that has answered is stored in the variable to which each of them points.
	serverIDs []*string

	// bufferSize is the buffer size of a subscription in updates, or of a stream in messages. It is
	// 0 for the default size.
	bufferSize int
	overflow   OverflowPolicy
	// bufferBytes is the buffer size of a subscription in bytes, or 0 for the default.
	bufferBytes int
	// window is the size of a stream's send window, in messages. It is 0 if the stream has no
	// window.
	window int

	// interceptors holds the interceptors of this request only. It is nil if there are none.
	interceptors *clientInterceptors
}

// newRequestOptions applies opts and returns the result. Most requests have no options. To save an
// allocation for these, newRequestOptions returns before it declares the variable o, which is
// allocated on the heap.
func newRequestOptions(opts []RequestOption) requestOptions {
	if len(opts) == 0 {
		return requestOptions{}
	}
	var o requestOptions
	for _, opt := range opts {
		if opt != nil {
			opt.applyRequest(&o)
		}
	}
	return o
}

// withDefaults returns the options of a conn followed by those of a request. Later options take
// precedence.
func withDefaults(defaults, opts []RequestOption) []RequestOption {
	if len(defaults) == 0 {
		return opts
	}
	return slices.Concat(defaults, opts)
}

type requestOption func(*requestOptions)

func (f requestOption) applyRequest(o *requestOptions) { f(o) }

// WithRequestTimeout sets the timeout of a call. It overrides the timeout of the conn, but the
// deadline of the context still applies. If timeout is zero or negative, the option has no effect.
func WithRequestTimeout(timeout time.Duration) RequestOption {
	return requestOption(func(o *requestOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionOpts sets how a server is selected for a call or stream. Fields that are zero are
// not replaced by defaults. The option has no effect on multi calls or on methods whose servers do
// not claim requests.
func WithSelectionOpts(opts SelectionOpts) RequestOption {
	return requestOption(func(o *requestOptions) { o.selection = &opts })
}

// WithTopic sets the topic of a call, stream, subscription or update. Use [Client.Topic] to set the
// topic for all calls of a client.
func WithTopic(parts ...string) RequestOption {
	return requestOption(func(o *requestOptions) { o.topic, o.hasTopic = parts, true })
}

// WithExpectedResponses ends a multi call as soon as n servers have responded. Without this option,
// the call ends when all servers that the client knows have responded; see [Client.CallMulti]. If n
// is zero or negative, the option has no effect.
func WithExpectedResponses(n int) RequestOption {
	return requestOption(func(o *requestOptions) { o.expected = max(n, 0) })
}

// SubscriptionSetting configures a subscription. Pass it to [Client.Subscribe], or to [NewConn] as
// the default for all subscriptions of the conn.
type SubscriptionSetting interface { //nolint:iface // InvokeOption configures something else
	ConnOption
	RequestOption
}

type subscriptionSetting func(*requestOptions)

func (f subscriptionSetting) applyRequest(o *requestOptions) { f(o) }

func (f subscriptionSetting) applyConn(o *connOptions) {
	o.subscriptionDefaults = append(o.subscriptionDefaults, f)
}

// WithBufferSize sets how many updates a subscription buffers if its reader is slow. The
// subscription may hold one more update outside the buffer. By default, or if the argument is zero
// or negative, the subscription buffers as many updates as fit into [DefaultBacklogBytes]. With a
// positive argument, their total size is limited only if [WithBufferBytes] is used, too.
func WithBufferSize(updates int) SubscriptionSetting {
	return subscriptionSetting(func(o *requestOptions) { o.bufferSize = max(updates, 0) })
}

// WithBufferBytes sets the maximum total size, in bytes, of the updates that a subscription buffers
// if its reader is slow. The default is [DefaultBacklogBytes], or no limit if [WithBufferSize] is
// used. If both options are used, both limits apply. The total may exceed the limit by a quarter
// and by the size of one update, because small updates in the channel, and the update that is about
// to be put into it, are not counted. If the argument is zero or negative, the default applies.
func WithBufferBytes(bytes int) SubscriptionSetting {
	return subscriptionSetting(func(o *requestOptions) { o.bufferBytes = max(bytes, 0) })
}

// WithOverflow sets what happens to updates that arrive while the buffer of a subscription is full.
// The default is [DropOldest].
func WithOverflow(overflow OverflowPolicy) SubscriptionSetting {
	return subscriptionSetting(func(o *requestOptions) { o.overflow = overflow })
}

// outgoingMetadata returns the metadata to send with the request. It contains the metadata of ctx
// and that of the options. If both contain the same key, the value from the options is used.
func (o *requestOptions) outgoingMetadata(ctx context.Context) map[string]string {
	if len(o.metadata) == 0 {
		return outgoingMetadata(ctx)
	}
	return outgoingMetadata(ContextWithMetadata(ctx, o.metadata))
}

// WithPeer tells the caller which server has answered a single call. When the call ends, the ID of
// that server is stored in *serverID. If no server has answered, the ID of the selected server is
// stored, or an empty string if no server was selected. The option may be used several times, so an
// interceptor can pass a variable of its own. If serverID is nil, the option has no effect.
func WithPeer(serverID *string) RequestOption {
	return requestOption(func(o *requestOptions) {
		if serverID != nil {
			o.serverIDs = append(o.serverIDs, serverID)
		}
	})
}

// RequestOption configures a call, stream, subscription or update.
type RequestOption interface{ applyRequest(o *requestOptions) }

// OverflowPolicy determines what happens to updates that arrive while the buffer of a subscription
// is full.
type OverflowPolicy uint8

const (
	// DropOldest drops the oldest unread update to make room for the new one. It is the default.
	//
	// The subscription's channel holds the oldest unread updates, at most 1024. If neither
	// [WithBufferSize] nor [WithBufferBytes] is used, and all updates are smaller than about 16
	// KiB, updates in the channel are never dropped. DropOldest then drops the oldest update that
	// is not in the channel yet.
	DropOldest OverflowPolicy = iota
	// DropNewest drops the new update.
	DropNewest
	// EndSubscription ends the subscription with an error that wraps errors.ErrSlowConsumer.
	EndSubscription
)

// WithMetadata attaches metadata to a call, stream or update, in addition to the metadata of its
// context. If the same key is in both, the value passed to WithMetadata is used.
func WithMetadata(metadata map[string]string) RequestOption {
	return requestOption(func(o *requestOptions) { o.metadata = metadata })
}

// InvokeOption configures the Invoke functions and [Publish]. It can be passed to one call, or to
// [NewConn] for all calls.
type InvokeOption interface { //nolint:iface // SubscriptionSetting configures something else
	ConnOption
	RequestOption
}

// WithDiscardUnknown makes the Invoke functions and [Publish] ignore fields and names of enum
// values that the schema does not have. By default, such a field or name in a json.RawMessage or a
// map is an error. For a stream, pass the option to [InvokeStream].
func WithDiscardUnknown() InvokeOption { return discardUnknownOption{} }

type discardUnknownOption struct{}

func (discardUnknownOption) applyConn(o *connOptions) { o.discardUnknown = true }

// applyRequest does nothing, because Conn.discardsUnknown searches the options for
// discardUnknownOption.
func (discardUnknownOption) applyRequest(*requestOptions) {}
