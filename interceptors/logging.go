package interceptors

import (
	"context"
	"log/slog"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// LoggingOption configures [Logging].
type LoggingOption func(*logging)

// WithLevels sets a function that returns the level of a log line for a method and a result code.
// The code of a success is errors.OK. The default is [DefaultLevel], which is also used if the
// function is nil.
func WithLevels(level func(info dynamic.RPCInfo, code errors.ErrorCode) slog.Level) LoggingOption {
	return func(l *logging) {
		if level != nil {
			l.level = level
		}
	}
}

// WithPayloads adds the content of messages to the log lines as JSON. It also logs one line for
// each stream message and for each response to a multi call. The value of a field with the option
// debug_redact is replaced by "[redacted]" if the field is a singular string, and omitted
// otherwise. The content of an Any is omitted if its type is unknown. By default, no content is
// logged, because messages may contain secrets.
func WithPayloads() LoggingOption {
	return func(l *logging) { l.payloads = true }
}

// DefaultLevel returns the default level of a log line. Successful publications and deliveries have
// the level debug. Other successes, and errors caused by the caller, have the level info. Errors
// caused by overload, timeouts, missing permissions or the state of the system have the level warn.
// All other codes have the level error.
func DefaultLevel(info dynamic.RPCInfo, code errors.ErrorCode) slog.Level {
	switch code {
	case errors.OK:
		if info.Descriptor.Kind() == registry.KindSubscription {
			return slog.LevelDebug
		}
		return slog.LevelInfo
	case errors.Canceled, errors.InvalidArgument, errors.MalformedRequest, errors.NotFound, errors.NotAcceptable,
		errors.AlreadyExists, errors.Unauthenticated, errors.UnprocessableEntity:
		return slog.LevelInfo
	case errors.DeadlineExceeded, errors.Unavailable, errors.PermissionDenied, errors.ResourceExhausted,
		errors.FailedPrecondition, errors.Aborted, errors.OutOfRange, errors.UpstreamClientError:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

// Logging logs one line when a call, multi call, stream, publication or delivery ends, and one line
// for each failed response to a multi call. With [WithPayloads], it also logs one line for each
// successful response and for each message on a stream. If logger is nil, slog.Default() is used.
//
// The text of a line is "call", "multi call", "stream", "publish", "delivery", "response" or, for a
// message on a stream, "message". Its attributes are:
//
//   - side: "server" or "client"
//   - method: the full name of the method
//   - topic: the parts of the topic, only for methods with topics
//   - peer: the ID of the client or server at the other end, if known
//   - code: the code of the error, or "ok" for a success
//   - error: the text of the error, only for failures
//   - duration: the time since the call, stream, publication or delivery started
//   - request_size, response_size, update_size, sent_size, received_size: the sizes of the messages
//     in bytes
//   - request, response, update: the content of the message as JSON, only with [WithPayloads]
//   - sent, received: the numbers of messages sent and received on a stream or, in the line of a
//     single message, its content as JSON
//   - responses, failures: the numbers of successful and failed responses to a multi call
//   - attempt: the number of the attempt, only for attempts after the first (see [Attempt])
func Logging(logger *slog.Logger, opts ...LoggingOption) dynamic.Option {
	l := &logging{logger: loggerOrDefault(logger), level: DefaultLevel}
	for _, opt := range opts {
		if opt != nil {
			opt(l)
		}
	}
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:      l.serve,
		ServerStream:   l.streamOn("server"),
		ServerPublish:  l.publishOn("server"),
		ClientRPC:      l.call,
		ClientMultiRPC: l.multi,
		ClientStream:   l.streamOn("client"),
		Publish:        l.publishOn("client"),
		Subscription:   l.deliver,
	})
}

func loggerOrDefault(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.Default()
	}
	return logger
}

func (l *logging) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	e := l.begin("call", "server", info)
	requestInfo, _ := dynamic.RequestInfoFromContext(ctx)
	e.peer = requestInfo.ClientID
	// Add the request to the log line before calling the handler, which may modify the request.
	e.addMessage("request", request)
	returned := false
	defer e.endOrPanic(ctx, &returned, &err)
	response, err = handler(ctx, request)
	returned = true
	if err == nil {
		e.addMessage("response", response)
	}
	return response, err
}

func (l *logging) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		e := l.begin("call", "client", info)
		e.addMessage("request", request)
		e.addAttempt(ctx)
		returned := false
		defer e.endOrPanic(ctx, &returned, &err)
		response, err = next(ctx, request, append(slices.Clip(opts), dynamic.WithPeer(&e.peer))...)
		returned = true
		if err == nil {
			e.addMessage("response", response)
		}
		return response, err
	}
}

func (l *logging) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &loggedMulti{ClientMultiRPCHandler: next, entry: l.begin("multi call", "client", info), context: context.Background()}
}

func (l *logging) streamOn(side string) dynamic.StreamInterceptor {
	return func(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		e := l.begin("stream", side, info)
		if side == "server" {
			requestInfo, _ := dynamic.RequestInfoFromContext(dynamic.StreamContext(next))
			e.peer = requestInfo.ClientID
		}
		return &loggedStream{StreamHandler: next, entry: e}
	}
}

func (l *logging) publishOn(side string) dynamic.PublishInterceptor {
	return func(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
		return func(ctx context.Context, update proto.Message) (err error) {
			return l.logUpdate(ctx, "publish", side, info, update, next)
		}
	}
}

func (l *logging) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) error {
		return l.logUpdate(ctx, "delivery", "client", info, update, next)
	}
}

func (l *logging) logUpdate(
	ctx context.Context, what, side string, info dynamic.RPCInfo, update proto.Message,
	next func(context.Context, proto.Message) error,
) (err error) {
	e := l.begin(what, side, info)
	e.addMessage("update", update)
	returned := false
	defer e.endOrPanic(ctx, &returned, &err)
	err = next(ctx, update)
	returned = true
	return err
}
