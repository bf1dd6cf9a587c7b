package serve

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// responseFrame returns the frame of a successful response, or the frame of an error response if
// body cannot be encoded.
func (c *call) responseFrame(body wire.Body) []byte {
	frame, at, err := c.encode(&wire.Response{Body: body})
	if err != nil {
		return c.errorFrame(errors.NewErrorf(errors.MalformedResponse,
			"cannot encode response of %s: %w", c.plan().method.FullName(), err))
	}
	if c.recorder != nil {
		c.recordEnd(frame, at, CallEnd{})
	}
	return frame
}

// errorFrame returns the frame of an error response. Error details that cannot be encoded are
// logged and omitted from the response.
func (c *call) errorFrame(cause error) []byte {
	code, text, details := errors.ToWire(cause)
	unprocessed := isUnprocessed(cause)
	frame, at, err := c.encode(&wire.Response{
		Code: string(code), Error: text, Details: details, Unprocessed: unprocessed,
	})
	if err != nil {
		c.plan().engine.Logger.Error("dynpsrpc: cannot encode error details",
			slog.String("method", c.plan().method.FullName()), slog.Any("error", err))
		frame, at, _ = c.encode(&wire.Response{Code: string(code), Error: text, Unprocessed: unprocessed})
	}
	if c.recorder != nil {
		notRun := unprocessed || !c.started || c.plan().handler.Missing
		c.recordEnd(frame, at, CallEnd{Code: code, Text: text, Unprocessed: notRun})
	}
	return frame
}

// mapKilled returns the error to send if a handler has returned err. It returns err itself, unless
// err is context.Canceled because the server canceled the handler's context, for example in Kill.
// In that case, it returns an error with code unavailable, which tells the client that another
// server may succeed.
func (c *call) mapKilled(err error) error {
	_, coded := errors.AsType[errors.Error](err)
	if coded || c.plan().service.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.NewErrorf(errors.Unavailable, "server %s was killed", c.plan().engine.ID)
}

// encode sets the fields that all responses have in common. It returns the encoded frame and the
// send time that the frame states. The number of subscribers is set only for MULTI methods. For
// other methods, it is part of the claims.
func (c *call) encode(response *wire.Response) (frame []byte, at time.Time, err error) {
	response.RequestID = c.requestID
	response.ServerID = c.plan().engine.wireID
	at = time.Now()
	response.SentAt = at.UnixNano()
	if c.plan().method.Routing() == registry.RoutingMulti {
		response.Subscribers = c.subscribers
	}
	if c.sendsServedIn && !response.Unprocessed {
		response.ServedIn = microseconds(c.sinceStart(at))
	}
	frame, err = response.AppendFrame(nil)
	return frame, at, err
}

// sinceStart returns the time from c.startedAt until the time at.
func (c *call) sinceStart(at time.Time) time.Duration {
	return time.Duration(c.plan().engine.announcer.since(at) - c.startedAt)
}

// microseconds returns d as a value of [wire.Response.ServedIn], where zero has another meaning.
func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 1), math.MaxUint32))
}

// recordStart records that the server begins to handle the request.
func (c *call) recordStart() {
	if c.recorder == nil {
		return
	}
	if c.claim != nil {
		c.startedAt = c.plan().engine.announcer.since(time.Now())
	}
	c.started = true
	(*c.recorder).RecordStart()
}

// recordEnd records the end of the call. frame is the response, and at is the time of the end. The
// caller must check that there is a recorder. recordEnd removes the recorder, so that a shorter
// response that replaces this one is not recorded again; see sendResponse.
func (c *call) recordEnd(frame []byte, at time.Time, end CallEnd) {
	if !c.started {
		(*c.recorder).RecordStart()
	}
	end.Time, end.Duration = at, c.sinceStart(at)
	end.RequestBytes, end.ResponseBytes = int(c.size), len(frame)
	(*c.recorder).RecordEnd(end)
	c.recorder = nil
}

// panicFrame reports a panic and returns the frame of an error response. The panic value is not
// included in the response, because it might reveal internals of the server.
func (c *call) panicFrame(value any) []byte {
	c.plan().reportPanic(&c.context, "handler", value)
	return c.errorFrame(errors.NewErrorf(errors.Internal, "the handler of %s panicked", c.plan().method.FullName()))
}

// sendResponse publishes a response. If the frame is too large for the bus, sendResponse publishes
// a short error instead. The client then does not have to wait until its timeout expires.
func (c *call) sendResponse(frame []byte) {
	engine := c.plan().engine
	c.publishContext.Limit = engine.Timeout
	defer c.publishContext.Cancel()
	err := engine.publishToClient(&c.publishContext, c.plan().method, c.client.responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		// If the second attempt fails too, publishToClient has already logged the error.
		_ = engine.publishToClient(&c.publishContext, c.plan().method, c.client.responses, c.tooLargeFrame(frame, err))
	}
}

// tooLargeFrame returns an error response that replaces a response whose frame is too large for the
// bus. If the response was an error, its code is kept, its text is shortened, and its details are
// left out. tooLarge is the error that the bus returned.
func (c *call) tooLargeFrame(frame []byte, tooLarge error) []byte {
	replacement := errors.NewErrorf(
		errors.ResourceExhausted, "response of %s: %w", c.plan().method.FullName(), tooLarge)
	if envelope, err := wire.ParseEnvelope(frame); err == nil {
		response, err := wire.ParseResponse(envelope.Value)
		if err == nil && response.Error != "" {
			text := transport.ShortenError(response.Error, replacement)
			replacement = errors.NewErrorf(errors.ErrorCode(response.Code), "%s", text)
			if response.Unprocessed {
				return c.errorFrame(MarkUnprocessed(replacement))
			}
		}
	}
	return c.errorFrame(replacement)
}
