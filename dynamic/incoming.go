package dynamic

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// incoming is one request being served, by a goroutine of its own.
type incoming struct {
	method  *servedMethod
	request wire.Request
	context requestContext
}

func (in *incoming) serve() {
	defer in.method.registration.handling.Leave()
	defer in.context.end()
	var frame []byte
	answered := false
	defer func() {
		if !answered { // a panic, or runtime.Goexit
			frame = in.panicked(recover())
		}
		if frame != nil {
			in.send(frame)
		}
	}()
	frame = in.answer()
	answered = true
}

// answer runs the request and returns the frame of its response, or nil if another server has it.
func (in *incoming) answer() []byte {
	request, err := in.method.handler.decode(in.request.Body.Raw)
	if err != nil { // at once and without a claim, as psrpc does
		return in.failure(errors.NewError(errors.MalformedRequest, err))
	}
	if in.needsGrant() && !in.obtainGrant() {
		return nil
	}
	response, err := in.method.handler.handle(&in.context, request)
	if err != nil {
		return in.failure(err)
	}
	return in.success(response)
}

// needsGrant tells whether the client chooses among servers. A client that takes a direct answer leaves the
// choice of a queue to the bus, which has made it already.
func (in *incoming) needsGrant() bool {
	method := in.method.method
	return method.RequireClaim() && !(method.Queue() && in.request.AcceptDirect)
}

// obtainGrant claims the request and waits for the client's choice.
func (in *incoming) obtainGrant() bool {
	server := in.method.registration.server
	claim := wire.ClaimRequest{RequestID: in.request.RequestID, ServerID: server.wireID, Affinity: 1}
	frame, err := claim.AppendFrame(nil)
	if err != nil { // the ids are not UTF-8: no client of ours or psrpc's sends such
		server.stats.badFrames.Add(1)
		return false
	}
	grant := server.grants.expect(in.request.RequestID)
	defer server.grants.forget(in.request.RequestID, grant)
	in.publish(in.peer().claims, frame)
	select {
	case granted := <-grant:
		return granted
	case <-in.context.Done():
		return false
	}
}

func (in *incoming) success(body wire.Body) []byte {
	frame, err := in.response(wire.Response{Body: body})
	if err != nil {
		return in.failure(errors.NewErrorf(errors.MalformedResponse,
			"response of %s cannot be encoded: %w", in.method.method.FullName(), err))
	}
	return frame
}

func (in *incoming) failure(failure error) []byte {
	code, text, details := errors.ToWire(failure)
	frame, err := in.response(wire.Response{Code: string(code), Error: text, Details: details})
	if err != nil {
		in.method.registration.server.options.logger.Error("psrpc: error details cannot be encoded",
			slog.String("method", in.method.method.FullName()), slog.Any("error", err))
		frame, _ = in.response(wire.Response{Code: string(code), Error: text})
	}
	return frame
}

func (in *incoming) response(response wire.Response) ([]byte, error) {
	response.RequestID = in.request.RequestID
	response.ServerID = in.method.registration.server.wireID
	response.SentAt = time.Now().UnixNano()
	return response.AppendFrame(nil)
}

// panicked logs what the caller must not see.
func (in *incoming) panicked(value any) []byte {
	method := in.method.method.FullName()
	in.method.registration.server.options.logger.Error("psrpc: handler panicked",
		slog.String("method", method), slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
	return in.failure(errors.NewErrorf(errors.Internal, "the handler of %s panicked", method))
}

// send publishes the response, or says why it cannot.
func (in *incoming) send(frame []byte) {
	err := in.publish(in.peer().responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		in.publish(in.peer().responses, in.failure(errors.NewErrorf(errors.ResourceExhausted,
			"response of %s: %w", in.method.method.FullName(), err)))
	}
}

// publish sends a frame however late: the caller's time is the caller's business. A bus that is down or closed
// fails at once, so that this does not hang.
func (in *incoming) publish(channel bus.Channel, frame []byte) error {
	server := in.method.registration.server
	err := server.bus.Publish(context.Background(), channel, frame, nil)
	if err != nil {
		server.options.logger.Warn("psrpc: answer could not be sent",
			slog.String("method", in.method.method.FullName()), slog.String("channel", channel.Name), slog.Any("error", err))
	}
	return err
}

func (in *incoming) peer() *peer { return in.method.registration.peers.get(in.request.ClientID) }
