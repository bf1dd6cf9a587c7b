package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// serverInterceptors holds the interceptors, panic hooks and request-event handlers of a server or
// of one of its services. In each slice of interceptors, the first one is the outermost.
type serverInterceptors struct {
	rpc     []ServerRPCInterceptor
	stream  []StreamInterceptor
	publish []PublishInterceptor
	panics  []PanicHook
	events  []RequestEventHandler
	// err names the options to which a nil interceptor was passed. It is nil if there are none.
	err error
}

// clientInterceptors holds the interceptors, panic hooks and request-event handlers of a conn, or
// the interceptors of one call or stream. For a call or stream, only the fields rpc, multi, stream
// and err are used.
type clientInterceptors struct {
	rpc          []ClientRPCInterceptor
	multi        []ClientMultiRPCInterceptor
	stream       []StreamInterceptor
	publish      []PublishInterceptor
	subscription []SubscriptionInterceptor
	panics       []PanicHook
	events       []RequestEventHandler
	// err names the options to which a nil interceptor was passed. It is nil if there are none.
	err error
}

// ClientRPCHandler sends the request of a single call and returns the response. The innermost
// handler sends the request over the bus. Each call to the innermost handler creates a new request
// with a new ID. ctx and opts set timeouts, metadata and topic, as in [Client.Call].
type ClientRPCHandler func(ctx context.Context, request proto.Message, opts ...RequestOption) (proto.Message, error)

// ClientRPCInterceptor wraps the handler of a client's single calls. The returned handler may call
// next once, several times, or not at all, and may replace the request, response, context, options
// or error. Messages must be of the method's message types; both generated and dynamic messages are
// accepted. The returned handler runs on the caller's goroutine, and panics in it are not
// recovered.
//
// The interceptor itself is called more than once. An interceptor of a conn is called when a client
// is created, including by [Client.Topic], and for each call that uses [WithTopic]. An interceptor
// from [WithRequestInterceptors] is called for each call. Variables that calls share must therefore
// be declared outside the interceptor. The returned handler must be safe for concurrent use.
type ClientRPCInterceptor func(info RPCInfo, next ClientRPCHandler) ClientRPCHandler

// ClientMultiRPCHandler handles one multi call. Each method handles one kind of event. To pass an
// event on, a handler calls the same method of the next handler. If the handler does not do this,
// the event goes no further.
//
// The first interceptor is always the one nearest to the caller. Send events pass from the caller
// through the interceptors to the bus, beginning with the first interceptor. Recv and Close events
// pass from the bus through the interceptors to the caller, beginning with the last interceptor.
// For each event, the next handler is the one that follows in the event's direction.
type ClientMultiRPCHandler interface {
	// Send sends the request. It is called on the caller's goroutine, and panics in Send are not
	// recovered. If Send fails, it may be called again, which creates a new request. Once Send has
	// succeeded, further calls fail. If an interceptor's handler does not call next.Send, no
	// request is sent. The caller then receives only the responses that the handler passes to
	// next.Recv before its Send returns.
	Send(ctx context.Context, request proto.Message, opts ...RequestOption) error
	// Recv handles a response or an error from a server. This package never calls it concurrently.
	// If the whole call has failed, response is nil and err is the reason. A handler may pass on
	// several responses when it receives one. All of them then have the same [Response.ServerID],
	// which is the ID of the server that sent the received response. A panic is logged and ends the
	// call with code [errors.Internal].
	Recv(response proto.Message, err error)
	// Close is called when the call has ended. An interceptor can end the call early by calling
	// next.Close. Close is called exactly once for each handler, even if Send failed or panicked.
	// Recv is not called after Close.
	Close()
}

// ClientMultiRPCInterceptor returns the handler for one multi call. The methods of next may be
// called from any goroutine. Messages must be of the method's message types; both generated and
// dynamic messages are accepted.
type ClientMultiRPCInterceptor func(info RPCInfo, next ClientMultiRPCHandler) ClientMultiRPCHandler

// ServerRPCHandler handles one request. The innermost handler is the service's own handler. If the
// innermost handler returns no error, its response is not nil.
type ServerRPCHandler func(ctx context.Context, request proto.Message) (proto.Message, error)

// ServerRPCInterceptor handles one request of a single or multi call. The argument handler is the
// next handler in the chain. The interceptor may call handler once, several times, or not at all.
// It may replace the request, response, context or error. Messages must be of the method's message
// types; both generated and dynamic messages are accepted. If the interceptor returns a nil
// response and a nil error, an empty message is sent.
//
// The interceptor runs on the goroutine that serves the request, once it is certain that this
// server handles the request. A panic in the interceptor is treated like a panic in the service's
// handler. ctx carries the client's ID and metadata; see [RequestInfoFromContext].
type ServerRPCInterceptor func(
	ctx context.Context, request proto.Message, info RPCInfo, handler ServerRPCHandler,
) (proto.Message, error)

// StreamHandler handles one side of a stream. Each method handles one kind of event. To pass an
// event on, a handler calls the same method of the next handler. If the handler does not do this,
// the event goes no further. Messages must be of the method's message types; both generated and
// dynamic messages are accepted.
//
// The first interceptor is the outermost: nearest to the user of the stream on a client, and
// nearest to the bus on a server. Send and Close events pass from the user through all interceptors
// to the bus. Recv events pass in the opposite direction, from the bus through all interceptors to
// the stream's channel. For each event, the next handler is the one that follows in the event's
// direction.
type StreamHandler interface {
	// Recv handles a received message. The message is acknowledged when it is put into the stream's
	// channel. If a handler drops the message instead, the message is acknowledged once Recv has
	// returned nil. If Recv returns an error, the message is rejected, and the stream is closed
	// with that error. The error is also sent to the other side. Recv is called on a goroutine of
	// the stream, for one message at a time. A panic is logged and closes the stream with code
	// [errors.Internal].
	Recv(message proto.Message) error
	// Send sends a message; see [ClientStream]. It runs on the goroutine that called the stream's
	// Send method.
	Send(message proto.Message, opts ...StreamOption) error
	// Close handles the end of the stream. If this side closes the stream, the stream is closed
	// after Close has passed through all handlers. Handlers can replace cause, but cannot keep the
	// stream open. The stream can also end because the other side closes it or because its context
	// ends. Close is then called after the last Recv, with the error that the stream's Err method
	// returns. In that case, the stream's context has already ended.
	//
	// Close is called exactly once for each handler. This is also the case if a client's stream
	// could not be opened or if the interceptor has called next.Close.
	Close(cause error) error
}

// StreamInterceptor returns the handler for one stream. It is called before a client opens the
// stream and before a server accepts it. If the interceptor calls next.Close before it returns, the
// stream is rejected with the error passed to next.Close. Once the stream is open, the methods of
// next may be called from any goroutine. Use [StreamContext] to get the context of the stream.
type StreamInterceptor func(info RPCInfo, next StreamHandler) StreamHandler

// PublishHandler publishes one update to the subscribers of a method. The innermost handler
// publishes the update on the bus.
type PublishHandler func(ctx context.Context, update proto.Message) error

// PublishInterceptor wraps the handler of one update. The returned handler may call next once,
// several times, or not at all, and may replace the update, context or error. The update must be of
// the method's message type; both generated and dynamic messages are accepted. The returned handler
// runs on the publisher's goroutine, and panics in it are not recovered. The interceptor itself is
// called for each update. Variables that updates share must therefore be declared outside the
// interceptor.
type PublishInterceptor func(info RPCInfo, next PublishHandler) PublishHandler

// DeliveryHandler handles one update received by a subscription. The innermost handler puts the
// update into the subscription's channel, and blocks while the channel is full.
type DeliveryHandler func(ctx context.Context, update proto.Message) error

// SubscriptionInterceptor wraps the handler of a subscription's updates. The interceptor is called
// once, when the subscription is created. The returned handler may call next once, several times,
// or not at all, and may replace the update or context. The update must be of the method's message
// type; both generated and dynamic messages are accepted. If the handler does not call next, the
// update is dropped. If it returns an error, the update is counted in the field Refused of
// [SubscriptionStats].
//
// The handler runs on a goroutine of the subscription and receives one update at a time. Further
// updates wait in the buffer; see [WithBufferSize] and [WithOverflow]. next may be called from any
// goroutine. ctx is the context of the subscription and carries the update's metadata; see
// [RequestInfoFromContext]. The handler must not call the subscription's Close method, because
// Close waits for the handler to return. A panic is logged and ends the subscription with code
// [errors.Internal].
type SubscriptionInterceptor func(info RPCInfo, next DeliveryHandler) DeliveryHandler

// Interceptors is a set of interceptors and handlers for [WithInterceptors]. Fields that are nil
// are skipped.
type Interceptors struct {
	// ServerRPC intercepts the single and multi calls that a server handles.
	ServerRPC ServerRPCInterceptor
	// ServerStream intercepts the streams of a server.
	ServerStream StreamInterceptor
	// ServerPublish intercepts the updates sent by calling [Registration.Publish].
	ServerPublish PublishInterceptor
	// ServerEvents handles the request events of a server; see [WithRequestEvents].
	ServerEvents RequestEventHandler

	// ClientRPC intercepts the single calls of a conn.
	ClientRPC ClientRPCInterceptor
	// ClientMultiRPC intercepts the multi calls of a conn.
	ClientMultiRPC ClientMultiRPCInterceptor
	// ClientStream intercepts the streams of a conn.
	ClientStream StreamInterceptor
	// Publish intercepts the updates sent by calling [Publish] with a conn.
	Publish PublishInterceptor
	// Subscription intercepts the updates received by the subscriptions of a conn.
	Subscription SubscriptionInterceptor
	// ClientEvents handles the request events of a conn; see [WithRequestEvents].
	ClientEvents RequestEventHandler

	// PanicHook is called for panics on both sides; see [WithPanicHook].
	PanicHook PanicHook
}

// add appends the interceptors, panic hook and event handler for the server side.
func (s *serverInterceptors) add(i Interceptors) {
	s.rpc = appendNonNil(s.rpc, i.ServerRPC)
	s.stream = appendNonNil(s.stream, i.ServerStream)
	s.publish = appendNonNil(s.publish, i.ServerPublish)
	s.panics = appendNonNil(s.panics, i.PanicHook)
	s.events = appendNonNil(s.events, i.ServerEvents)
}

// concat returns the contents of s followed by those of service. It leaves out the field err.
func (s *serverInterceptors) concat(service *serverInterceptors) serverInterceptors {
	return serverInterceptors{
		rpc:     slices.Concat(s.rpc, service.rpc),
		stream:  slices.Concat(s.stream, service.stream),
		publish: slices.Concat(s.publish, service.publish),
		panics:  slices.Concat(s.panics, service.panics),
		events:  slices.Concat(s.events, service.events),
	}
}

// add appends the interceptors, panic hook and event handler for the client side.
func (c *clientInterceptors) add(i Interceptors) {
	c.rpc = appendNonNil(c.rpc, i.ClientRPC)
	c.multi = appendNonNil(c.multi, i.ClientMultiRPC)
	c.stream = appendNonNil(c.stream, i.ClientStream)
	c.publish = appendNonNil(c.publish, i.Publish)
	c.subscription = appendNonNil(c.subscription, i.Subscription)
	c.panics = appendNonNil(c.panics, i.PanicHook)
	c.events = appendNonNil(c.events, i.ClientEvents)
}

// appendNonNil appends all values that are not nil to the list.
func appendNonNil[T any](list []T, values ...T) []T {
	for _, value := range values {
		if !nilarg.Is(value) {
			list = append(list, value)
		}
	}
	return list
}
