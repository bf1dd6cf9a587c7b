package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
)

// serverInterceptors holds the interceptors of a server, or of one of its services. The first one
// of each kind is outermost.
type serverInterceptors struct {
	rpc     []ServerRPCInterceptor
	stream  []StreamInterceptor
	publish []PublishInterceptor
	panics  []PanicHook
	// err lists the options that were given a nil interceptor.
	err error
}

// clientInterceptors holds the interceptors of a conn or of one call. The options of a call set
// rpc, multi and stream only.
type clientInterceptors struct {
	rpc          []ClientRPCInterceptor
	multi        []ClientMultiRPCInterceptor
	stream       []StreamInterceptor
	publish      []PublishInterceptor
	subscription []SubscriptionInterceptor
	panics       []PanicHook
	// err lists the options that were given a nil interceptor.
	err error
}

// ClientRPCHandler sends one request of a single call and returns the response. The innermost
// handler is the engine. It makes a new request, with a new id, each time it is called, and applies
// ctx and opts as [Client.Call] does: timeouts, metadata, and topic.
type ClientRPCHandler func(ctx context.Context, request proto.Message, opts ...RequestOption) (proto.Message, error)

// ClientRPCInterceptor wraps the handler of a client's single calls. The handler that it returns
// calls next once, several times, or not at all, and may replace the request, response, context,
// options or error. A message must be of the method's type; its Go type does not matter. The
// handler runs on the caller's goroutine; the engine does not recover its panics.
//
// The interceptor itself is called when a client or a topic of it is created, and again for each
// call with [WithTopic] or [WithRequestInterceptors]. State that calls share therefore belongs
// outside of the interceptor. The handler may be called concurrently.
type ClientRPCInterceptor func(info RPCInfo, next ClientRPCHandler) ClientRPCHandler

// ClientMultiRPCHandler handles one multi call. An interceptor's handler implements each method by
// calling the same method of the next handler, or omits that call.
//
// The first interceptor is nearest the caller in both directions. Requests pass from the caller
// through the first to the last interceptor to the bus. Responses and the end of the call pass from
// the bus through the last to the first interceptor to the caller. The next handler is the next one
// in that direction.
type ClientMultiRPCHandler interface {
	// Send sends the request. It is called on the caller's goroutine; the engine does not recover
	// its panics. After an error Send may be called again, which makes a new request. After a
	// success another call fails. If an interceptor does not call Send of next, no request is sent,
	// and the call has the responses that the interceptor passes to Recv of next before its own
	// Send returns.
	Send(ctx context.Context, request proto.Message, opts ...RequestOption) error
	// Recv handles a response or an error of a server. It is called for one at a time. If response
	// is nil and the error is not from a server, err is the reason why the whole call failed. For
	// the response that reaches the caller, [Response.ServerID] is the server whose response was
	// being received when the last Recv was called. A panic is logged and ends the call with the
	// code internal.
	Recv(response proto.Message, err error)
	// Close ends the call for this handler: the call has ended, or an interceptor ends it early by
	// calling Close of next. Close is called once for each handler, also if Send failed or
	// panicked. Recv is not called after Close.
	Close()
}

// ClientMultiRPCInterceptor returns the handler of one multi call. The methods of next may be
// called from any goroutine. Messages must be of the method's types; their Go types do not matter.
type ClientMultiRPCInterceptor func(info RPCInfo, next ClientMultiRPCHandler) ClientMultiRPCHandler

// ServerRPCHandler handles one request. The innermost handler is the handler of the service. Its
// response is not nil unless it returns an error.
type ServerRPCHandler func(ctx context.Context, request proto.Message) (proto.Message, error)

// ServerRPCInterceptor handles one request of a single or multi call. It calls handler, the next
// one in the chain, once, several times, or not at all, and may replace the request, response,
// context or error. A message must be of the method's type; its Go type does not matter. A nil
// response without an error is sent as an empty message.
//
// The interceptor runs on the request's goroutine after the client has selected this server. A
// panic is treated as a panic of the service's handler. ctx carries the client's id and metadata,
// see [RequestInfoFromContext].
type ServerRPCInterceptor func(
	ctx context.Context, request proto.Message, info RPCInfo, handler ServerRPCHandler,
) (proto.Message, error)

// StreamHandler handles one side of a stream. An interceptor's handler implements each method by
// calling the same method of the next handler, or omits that call. Messages must be of the method's
// types; their Go types do not matter.
//
// The first interceptor is outermost: nearest the user of the stream on a client, nearest the bus
// on a server. A sent message and a close pass from the user through all interceptors to the bus. A
// received message passes from the bus through all interceptors, in the opposite order, into the
// stream's channel. The next handler is the next one in that direction.
type StreamHandler interface {
	// Recv handles a received message. The message is acknowledged when it is put into the stream's
	// channel, or, if it is not passed on, when Recv returns nil. An error rejects the message and
	// closes the stream with that error, which the other side receives. Recv is called for one
	// message at a time, on a goroutine of the stream. A panic is logged and closes the stream with
	// the code internal.
	Recv(message proto.Message) error
	// Send sends a message, see [ClientStream]. It runs on the goroutine that calls Send of the
	// stream.
	Send(message proto.Message, opts ...StreamOption) error
	// Close handles the end of the stream. If this side closes the stream, it is closed after all
	// interceptors have passed the close on. They can replace cause, but they cannot keep the
	// stream open. If the stream was closed in another way, by the other side or because its
	// context ended, Close is called after the last Recv, with the error that Err returns; the
	// stream's context has ended before.
	//
	// Close is called once for each handler, also if a client's stream could not be opened, and
	// also if the interceptor has called Close of next itself.
	Close(cause error) error
}

// StreamInterceptor returns the handler of one stream. It is called before a client opens the
// stream, and before a server accepts it. If it calls Close of next before it returns, the stream
// is rejected with that cause. The methods of next may be called from any goroutine once the stream
// is open. [StreamContext] returns the context of the stream.
type StreamInterceptor func(info RPCInfo, next StreamHandler) StreamHandler

// PublishHandler sends one update to the subscribers of a method. The innermost handler is the
// engine.
type PublishHandler func(ctx context.Context, update proto.Message) error

// PublishInterceptor wraps the handler of one update. The handler that it returns calls next once,
// several times, or not at all, and may replace the update, context or error. An update must be of
// the method's type; its Go type does not matter. The handler runs on the publisher's goroutine;
// the engine does not recover its panics. The interceptor itself is called for each update. State
// that updates share therefore belongs outside of the interceptor.
type PublishInterceptor func(info RPCInfo, next PublishHandler) PublishHandler

// DeliveryHandler handles one received update of a subscription. The innermost handler puts it into
// the subscription's channel, and waits while the channel is full.
type DeliveryHandler func(ctx context.Context, update proto.Message) error

// SubscriptionInterceptor wraps the handler of a subscription's updates. It is called once, when
// the subscription is made. The handler that it returns calls next once, several times, or not at
// all, and may replace the update or context. An update must be of the method's type; its Go type
// does not matter. An update that is not passed on is dropped; if the handler returns an error, the
// update is also counted in Refused of [SubscriptionStats].
//
// Updates are handled one at a time, on a goroutine of the subscription; further updates wait, see
// [WithBufferSize] and [WithOverflow]. next may be called from any goroutine. ctx is the context of
// the subscription with the update's metadata, see [RequestInfoFromContext]. The handler must not
// call the subscription's Close, which waits for the handler. A panic is logged and ends the
// subscription with the code internal.
type SubscriptionInterceptor func(info RPCInfo, next DeliveryHandler) DeliveryHandler

// concat returns the interceptors of s, followed by those of a service.
func (s *serverInterceptors) concat(service *serverInterceptors) serverInterceptors {
	return serverInterceptors{
		rpc:     slices.Concat(s.rpc, service.rpc),
		stream:  slices.Concat(s.stream, service.stream),
		publish: slices.Concat(s.publish, service.publish),
		panics:  slices.Concat(s.panics, service.panics),
	}
}
