package interceptors

import (
	"context"
	"log/slog"
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

type logging struct {
	logger   *slog.Logger
	level    func(dynamic.RPCInfo, errors.ErrorCode) slog.Level
	payloads bool
}

// entry is what is known when something begins that gets a line when it ends.
type entry struct {
	logging *logging
	message string
	side    string
	info    dynamic.RPCInfo
	started time.Time
	peer    string
	attrs   []slog.Attr // the last ones
}

func (l *logging) begin(message, side string, info dynamic.RPCInfo) *entry {
	return &entry{logging: l, message: message, side: side, info: info, started: time.Now()}
}

func (n *entry) add(attrs ...slog.Attr) { n.attrs = append(n.attrs, attrs...) }

// addMessage adds a message's size, and itself if that is wanted. The message may be nil.
func (n *entry) addMessage(name string, message proto.Message) {
	if message == nil {
		return
	}
	n.add(slog.Int(name+"_size", proto.Size(message)))
	if n.logging.payloads {
		n.add(slog.String(name, redactedJSON(message)))
	}
}

// end writes the line.
func (n *entry) end(ctx context.Context, err error) {
	code := codeOf(err)
	level := n.logging.level(n.info, code)
	if !n.logging.logger.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12), slog.String("side", n.side), slog.String("method", n.info.Descriptor.FullName()))
	if len(n.info.Topic) > 0 {
		attrs = append(attrs, slog.Any("topic", n.info.Topic))
	}
	if n.peer != "" {
		attrs = append(attrs, slog.String("peer", n.peer))
	}
	if err == nil {
		attrs = append(attrs, slog.String("code", "ok"))
	} else {
		attrs = append(attrs, slog.String("code", string(code)), slog.String("error", err.Error()))
	}
	attrs = append(attrs, slog.Duration("duration", time.Since(n.started)))
	n.logging.logger.LogAttrs(ctx, level, n.message, append(attrs, n.attrs...)...)
}

// errPanicked stands for the error of what has panicked, in a line.
var errPanicked = errors.NewErrorf(errors.Internal, "panic")

// endOrPanic is deferred: end, also if there is no error yet because of a panic. It does not end that.
func (n *entry) endOrPanic(ctx context.Context, returned *bool, err *error) {
	if !*returned {
		n.end(ctx, errPanicked)
		return
	}
	n.end(ctx, *err)
}
