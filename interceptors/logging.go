package interceptors

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// LoggingOption configures [Logging].
type LoggingOption func(*logging)

// WithLevels sets the level of a line by its method and code; that of a success is errors.OK. The default, also for nil, is
// [DefaultLevel].
func WithLevels(level func(info dynamic.RPCInfo, code errors.ErrorCode) slog.Level) LoggingOption {
	return func(l *logging) {
		if level != nil {
			l.level = level
		}
	}
}

// WithPayloads adds the messages to the lines, as JSON, and a line for each message of a stream, and each response to a
// multi call. Fields with the option debug_redact are left out, or say so if they are strings; so are fields and messages
// whose types are not known. The default is that no message is logged: there may be secrets in them.
func WithPayloads() LoggingOption {
	return func(l *logging) { l.payloads = true }
}

// DefaultLevel is debug for updates that were published or delivered, info for other successes and for failures that are the
// caller's, warn for those that are a matter of load, time or state, and error for those that should not happen.
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

// Logging logs a line for each call, multi call, stream, publication and delivery, when it has ended, and for each
// failed response to a multi call. A nil logger is slog.Default().
//
// A line's message is what it is about: "call", "multi call", "response", "stream", "publish" or "delivery". Its attributes
// are: side, server or client; method; topic, if there is one; peer, the id of the other side, if that is known; code, "ok" for
// a success; error, unless there is none; duration; the sizes of messages in bytes, by what they are; of a stream how many
// were sent and received, of a multi call how many responses and failures there were; and attempt, from the second one on,
// see [Attempt].
func Logging(logger *slog.Logger, opts ...LoggingOption) dynamic.CommonOption {
	l := &logging{logger: loggerOrDefault(logger), level: DefaultLevel}
	for _, opt := range opts {
		opt(l)
	}
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(l.serve),
			dynamic.WithServerStreamInterceptors(l.streamOn("server")),
			dynamic.WithServerPublishInterceptors(l.publishOn("server")),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(l.call),
			dynamic.WithClientMultiRPCInterceptors(l.multi),
			dynamic.WithClientStreamInterceptors(l.streamOn("client")),
			dynamic.WithPublishInterceptors(l.publishOn("client")),
			dynamic.WithSubscriptionInterceptors(l.deliver),
		),
	)
}

func loggerOrDefault(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.Default()
	}
	return logger
}

type logging struct {
	logger   *slog.Logger
	level    func(dynamic.RPCInfo, errors.ErrorCode) slog.Level
	payloads bool
}

func (l *logging) begin(message, side string, info dynamic.RPCInfo) *entry {
	return &entry{logging: l, message: message, side: side, info: info, started: time.Now()}
}

func (l *logging) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	n := l.begin("call", "server", info)
	incoming, _ := dynamic.RequestInfoFromContext(ctx)
	n.peer = incoming.ClientID
	n.addMessage("request", request) // which is the handler's from now on
	returned := false
	defer n.endOrPanic(ctx, &returned, &err)
	response, err = handler(ctx, request)
	returned = true
	if err == nil {
		n.addMessage("response", response)
	}
	return response, err
}

func (l *logging) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		n := l.begin("call", "client", info)
		n.addMessage("request", request)
		n.addAttempt(ctx)
		returned := false
		defer n.endOrPanic(ctx, &returned, &err)
		response, err = next(ctx, request, append(slices.Clip(opts), dynamic.WithPeer(&n.peer))...)
		returned = true
		if err == nil {
			n.addMessage("response", response)
		}
		return response, err
	}
}

func (l *logging) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &loggedMulti{ClientMultiRPCHandler: next, entry: l.begin("multi call", "client", info), context: context.Background()}
}

func (l *logging) streamOn(side string) dynamic.StreamInterceptor {
	return func(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		n := l.begin("stream", side, info)
		if side == "server" {
			incoming, _ := dynamic.RequestInfoFromContext(dynamic.StreamContext(next))
			n.peer = incoming.ClientID
		}
		return &loggedStream{StreamHandler: next, entry: n}
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
	n := l.begin(what, side, info)
	n.addMessage("update", update)
	returned := false
	defer n.endOrPanic(ctx, &returned, &err)
	err = next(ctx, update)
	returned = true
	return err
}
