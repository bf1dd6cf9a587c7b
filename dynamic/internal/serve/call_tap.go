package serve

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// traffic returns a Traffic of this kind, with the fields that all traffic of the call has in
// common.
func (c *call) traffic(kind tap.Kind) tap.Traffic {
	return tap.Traffic{
		Kind: kind, Method: c.plan().method, Topic: c.endpoint.topic, ClientID: c.client.id, RequestID: c.requestID,
	}
}

// tapRequest passes the request to report, and returns the time at which the handler starts.
func (c *call) tapRequest(report func(tap.Traffic), request wire.Body) (started time.Time) {
	t := c.traffic(tap.Request)
	t.Metadata, t.Message, t.Encoded = c.metadata, request.Message, request.Raw
	report(t)
	return time.Now()
}

// tapResponse passes a response to report. If frame is nil, the handler has panicked.
func (c *call) tapResponse(report func(tap.Traffic), frame []byte, took time.Duration) {
	t := c.traffic(tap.Error)
	t.Duration, t.Code = took, errors.Internal
	if envelope, err := wire.ParseEnvelope(frame); err == nil && frame != nil {
		if response, err := wire.ParseResponse(envelope.Value); err == nil {
			t.Code, t.Encoded = errors.ErrorCode(response.Code), response.Body.Raw
		}
	}
	if t.Code == "" {
		t.Kind = tap.Response
	}
	report(t)
}

// refusalFrame returns the frame of an error response to a request that was not handled. It also
// reports the response to the tap, if one is set.
func (c *call) refusalFrame(cause error) []byte {
	frame := c.errorFrame(cause)
	if report := c.plan().engine.tap.Load(); report != nil {
		c.tapResponse(report, frame, 0)
	}
	return frame
}
