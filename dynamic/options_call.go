package dynamic

import (
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/update"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

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

// requestOption is a RequestOption that can only be passed to a call, stream, subscription or
// update. NewConn returns an error for it; see misplaced.
type requestOption func(*requestOptions)

func (f requestOption) applyRequest(o *requestOptions) { f(o) }

func (f requestOption) applyConn(o *connOptions) {
	var r requestOptions
	f(&r)
	o.err = errors.Join(o.err, r.misplaced())
}

// misplaced returns an error if o contains an option that NewConn does not accept. It is used to
// name a requestOption that was passed to NewConn.
func (o *requestOptions) misplaced() error {
	var name, hint string
	switch {
	case o.timeout != 0:
		name, hint = "WithRequestTimeout", ", or use WithClientTimeout"
	case o.selection != nil:
		name = "WithSelectionOpts"
	case o.hasTopic:
		name, hint = "WithTopic", ", or use Client.Topic"
	case o.expected != 0:
		name = "WithExpectedResponses"
	case len(o.metadata) > 0:
		name, hint = "WithMetadata", ", or add the metadata in an interceptor"
	case len(o.serverIDs) > 0:
		name = "WithPeer"
	case len(o.facts) > 0:
		name = "WithFacts"
	default:
		return nil
	}
	return errors.NewErrorf(errors.InvalidArgument, "%s configures a single call, not a conn: pass it to the call%s", name, hint)
}

// WithRequestTimeout sets the timeout of a call. It overrides the timeout of the conn, but the
// deadline of the context still applies. If timeout is zero or negative, the option has no effect.
func WithRequestTimeout(timeout time.Duration) RequestOption {
	return requestOption(func(o *requestOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionOpts sets how a server is selected for a call or stream. Fields that are zero are
// not replaced by defaults. The option has no effect on multi calls or on methods whose servers do
// not claim requests.
func WithSelectionOpts(opts SelectionOpts) RequestOption {
	selection := opts.internal()
	return requestOption(func(o *requestOptions) { o.selection = selection })
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

// subscriptionSetting is a RequestOption for subscriptions.
type subscriptionSetting func(*requestOptions)

func (f subscriptionSetting) applyRequest(o *requestOptions) { f(o) }

func (f subscriptionSetting) applyConn(o *connOptions) {
	o.subscriptionDefaults = append(o.subscriptionDefaults, f)
}

// WithBufferSize sets how many updates a subscription buffers if its reader is slow. The
// subscription may hold one more update outside the buffer. By default, or if the argument is zero
// or negative, the subscription buffers as many updates as fit into [DefaultBacklogBytes]. With a
// positive argument, their total size is limited only if [WithBufferBytes] is used, too.
func WithBufferSize(updates int) RequestOption {
	return subscriptionSetting(func(o *requestOptions) { o.bufferSize = max(updates, 0) })
}

// WithBufferBytes sets the maximum total size, in bytes, of the updates that a subscription buffers
// if its reader is slow. The default is [DefaultBacklogBytes], or no limit if [WithBufferSize] is
// used. If both options are used, both limits apply. If the argument is zero or negative, the
// default applies. The total may exceed the limit by up to a quarter, because small updates in the
// subscription's channel are not counted. The update that is about to be put into the channel is
// not counted either.
func WithBufferBytes(bytes int) RequestOption {
	return subscriptionSetting(func(o *requestOptions) { o.bufferBytes = max(bytes, 0) })
}

// WithOverflow sets what happens to updates that arrive while the buffer of a subscription is full.
// The default is [DropOldest].
func WithOverflow(overflow OverflowPolicy) RequestOption {
	return subscriptionSetting(func(o *requestOptions) { o.overflow = update.Overflow(overflow) })
}

// outgoing returns the request of a call. body is not used for streams.
func (o *requestOptions) outgoing(ctx context.Context, body wire.Body) call.Request {
	return call.Request{
		Body: body, Metadata: o.outgoingMetadata(ctx), Timeout: o.timeout, Selection: o.selection, Expected: o.expected,
	}
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

// WithFacts tells the caller how a single call went. When the call ends, its facts are stored in
// *facts, whether it has succeeded or failed. They contain the ID of the request, the server that
// has answered, and the durations of the phases. If the call has succeeded or the server has
// returned an error, the field Reason is empty. If the call fails before it tries to send the
// request, *facts is not changed. If an interceptor repeats the call, the facts are those of the
// last attempt. The option may be used several times. If facts is nil, or for other kinds of calls,
// the option has no effect.
func WithFacts(facts *errors.CallFacts) RequestOption {
	return requestOption(func(o *requestOptions) {
		if facts != nil {
			o.facts = append(o.facts, facts)
		}
	})
}

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

// WithDiscardUnknown makes the Invoke functions and [Publish] ignore fields and names of enum
// values that the schema does not have. By default, such a field or name in a json.RawMessage or a
// map is an error. For a stream, pass the option to [InvokeStream].
func WithDiscardUnknown() RequestOption { return discardUnknownOption{} }

type discardUnknownOption struct{}

func (discardUnknownOption) applyConn(o *connOptions) { o.discardUnknown = true }

// applyRequest does nothing, because Conn.discardsUnknown searches the options for
// discardUnknownOption.
func (discardUnknownOption) applyRequest(*requestOptions) {}

// newSendOptions applies opts and returns the result. Most calls to Send have no options. To save
// an allocation for these, newSendOptions returns before it declares the variable o, which is
// allocated on the heap.
func newSendOptions(opts []StreamOption) stream.SendOptions {
	if len(opts) == 0 {
		return stream.SendOptions{}
	}
	var o stream.SendOptions
	for _, opt := range opts {
		if opt != nil {
			opt.applySend(&o)
		}
	}
	return o
}

type sendOption func(*stream.SendOptions)

func (f sendOption) applySend(o *stream.SendOptions) { f(o) }

// WithStreamTimeout sets the time limit for one call to Send. If timeout is zero or negative, or if
// the option is not used, a default limit applies. On a client, the default is the timeout that was
// used to open the stream. On a server, it is the timeout set by [WithServerTimeout]. If the stream
// has a send window (see [WithStreamWindow]), Send waits for a free slot no longer than the limit.
// The acknowledgement must then arrive within the limit, too.
func WithStreamTimeout(timeout time.Duration) StreamOption {
	return sendOption(func(o *stream.SendOptions) {
		if timeout > 0 {
			o.Timeout = min(timeout, transport.MaxTimeout)
		}
	})
}

// WithStreamContext sets a context for one call to Send. If ctx ends before Send has succeeded,
// Send returns an error, but the other side may still have received the message. If ctx is nil, the
// option has no effect.
func WithStreamContext(ctx context.Context) StreamOption {
	return sendOption(func(o *stream.SendOptions) {
		if ctx != nil {
			o.Context = ctx
		}
	})
}
