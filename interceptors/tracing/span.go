package tracing

import (
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	keyTopic    = attribute.Key("dynpsrpc.topic")
	keyClientID = attribute.Key("dynpsrpc.client.id")
	keyServerID = attribute.Key("dynpsrpc.server.id")
	keyAttempt  = attribute.Key("dynpsrpc.attempt")
	keyReason   = attribute.Key("dynpsrpc.reason")
	keyPhase    = attribute.Key("dynpsrpc.phase")

	// These names come from earlier versions of the semantic conventions.
	messageEvent   = "rpc.message"
	keyMessageType = attribute.Key("rpc.message.type")
	keyMessageID   = attribute.Key("rpc.message.id")
	keyMessageSize = attribute.Key("rpc.message.uncompressed_size")
)

// span wraps the OpenTelemetry span of one call, stream or update. Its methods are safe for
// concurrent use.
type span struct {
	trace.Span

	kind            trace.SpanKind
	noMessageEvents bool
	// sent and received are the numbers of messages sent and received.
	sent, received atomic.Int64
}

// record calls f and ends the span with the error that f returns. If f panics, record ends the span
// with the code internal and does not recover the panic.
func (s *span) record(f func() error) {
	err := error(errors.NewErrorf(errors.Internal, "panic"))
	defer func() { s.end(err) }()
	err = f()
}

// end sets the status of the span according to err and ends the span.
func (s *span) end(err error) {
	s.SetAttributes(status(err))
	if err != nil {
		s.setError(err)
	}
	s.End()
}

func status(err error) attribute.KeyValue {
	if err == nil {
		return semconv.RPCResponseStatusCode("ok")
	}
	return semconv.RPCResponseStatusCode(string(errors.FromContext(err).Code()))
}

func (s *span) setError(err error) {
	code := errors.FromContext(err).Code()
	if s.kind == trace.SpanKindServer && !isServerFault(code) {
		return
	}
	attributes := []attribute.KeyValue{semconv.ErrorTypeKey.String(string(code))}
	if facts, known := errors.FactsOf(err); known {
		for _, fact := range []attribute.KeyValue{
			keyReason.String(string(facts.Reason)), keyPhase.String(string(facts.Phase)), keyServerID.String(facts.ServerID),
		} {
			if fact.Value.AsString() != "" {
				attributes = append(attributes, fact)
			}
		}
	}
	s.SetAttributes(attributes...)
	s.SetStatus(codes.Error, strings.ToValidUTF8(err.Error(), "?"))
}

// isServerFault reports whether code indicates a fault of the server. As in OpenTelemetry's
// conventions for gRPC, only such codes mark a server span as failed.
func isServerFault(code errors.ErrorCode) bool {
	switch code.ToGrpc() {
	case grpccodes.Unknown, grpccodes.DeadlineExceeded, grpccodes.Unimplemented, grpccodes.Internal,
		grpccodes.Unavailable, grpccodes.DataLoss:
		return true
	default:
		return false
	}
}

// messageSent adds an event for a sent message.
func (s *span) messageSent(message proto.Message) { s.message("SENT", s.sent.Add(1), message, nil) }

// messageReceived adds an event for a received message or error.
func (s *span) messageReceived(message proto.Message, err error, more ...attribute.KeyValue) {
	s.message("RECEIVED", s.received.Add(1), message, err, more...)
}

func (s *span) message(direction string, id int64, message proto.Message, err error, more ...attribute.KeyValue) {
	if s.noMessageEvents || !s.IsRecording() {
		return
	}
	attributes := append([]attribute.KeyValue{keyMessageType.String(direction), keyMessageID.Int64(id)}, more...)
	if err != nil {
		attributes = append(attributes, status(err))
	} else {
		attributes = append(attributes, keyMessageSize.Int(proto.Size(message)))
	}
	s.AddEvent(messageEvent, trace.WithAttributes(attributes...))
}
