package dynamic_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestCall_FrameSizeLimit checks that a call returns an error at once if its request, its response
// or its error is larger than the bus permits.
func TestCall_FrameSizeLimit(t *testing.T) {
	t.Parallel()
	const limit = 1000
	large := strings.Repeat("x", 2*limit)
	w := newWorld(t, bus.WithMaxFrameSize(limit))
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			switch request.GetValue() {
			case "large response":
				return wrapperspb.String(large), nil
			case "large error":
				return nil, errors.NewErrorf(errors.NotFound, "%s", large)
			case "large details":
				return nil, errors.NewError(errors.NotFound, errors.New("gone"), wrapperspb.String(large))
			}
			return request, nil
		}),
	})
	for _, request := range []string{large, "large response", "large error", "large details"} {
		_, err := w.call(t, echo, request, dynamic.WithRequestTimeout(time.Hour))
		code := errors.ResourceExhausted
		switch request {
		case "large error":
			code = errors.NotFound
			assert.Contains(t, err.Error(), large[:200], "the beginning of the text")
		case "large details":
			code = errors.NotFound
			assert.Contains(t, err.Error(), "gone")
		}
		coded := requireCode(t, code, err)
		assert.Contains(t, coded.Error(), "1000", "the limit")
		assert.Contains(t, coded.Error(), echo)
		if request == large {
			require.ErrorIs(t, err, bus.ErrFrameTooLarge)
			facts := requireFacts(t, errors.ReasonTooLarge, err)
			assert.Equal(t, errors.PhasePublish, facts.Phase)
		}
	}
	response, err := w.call(t, echo, "small")
	require.NoError(t, err)
	assert.Equal(t, "small", response)
}

// TestFrameSizeLimit_EveryAnswer checks that the server sends a small error in place of a response
// or error that is too large. It covers calls and multi calls.
func TestFrameSizeLimit_EveryAnswer(t *testing.T) {
	t.Parallel()
	const limit = 1000
	large := strings.Repeat("x", 2*limit)
	answers := map[string]func() (text, error){
		"response": func() (text, error) { return say(large), nil },
		"error":    func() (text, error) { return nil, errors.NewErrorf(errors.NotFound, "%s", large) },
		"details":  func() (text, error) { return nil, errors.NewError(errors.NotFound, errors.New("gone"), say(large)) },
	}
	handle := func(_ context.Context, request text) (text, error) {
		if answer := answers[request.GetValue()]; answer != nil {
			return answer()
		}
		return request, nil
	}
	w := newWorldOn(t, bus.NewLocal(bus.WithMaxFrameSize(limit)), dynamic.WithLogger(discard))
	w.registry = newRegistry(t, kindsSource)
	conn, err := dynamic.NewConn(w.bus, w.registry, patientConn)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	handler := dynamic.Unary(handle)
	_, err = w.server.Register(descriptor(t, w.registry, "kinds.Fleet"),
		dynamic.Handlers{"Best": handler, "All": handler}, dynamic.AllowMissing())
	require.NoError(t, err)
	multi := textClient(t, conn, "kinds.Fleet/All")
	for answer := range answers {
		code := errors.NotFound
		if answer == "response" {
			code = errors.ResourceExhausted
		}
		_, err := textClient(t, conn, "kinds.Fleet/Best").Call(t.Context(), say(answer), dynamic.WithRequestTimeout(time.Hour))
		requireCode(t, code, err)
		responses, err := multi.CallMulti(t.Context(), say(answer), dynamic.WithRequestTimeout(time.Hour))
		require.NoError(t, err)
		response := requireSoon(t, responses, "response of "+answer)
		requireCode(t, code, response.Err)
		assert.Equal(t, "SRV_test", response.ServerID)
	}
	_, err = multi.CallMulti(t.Context(), say(large))
	requireCode(t, errors.ResourceExhausted, err)
	requireFacts(t, errors.ReasonTooLarge, err)
}

// TestFrameSizeLimit_Streams checks messages and closes that are too large for the bus. Send
// returns an error, and the stream stays open. A close is sent with a shorter text instead.
func TestFrameSizeLimit_Streams(t *testing.T) {
	t.Parallel()
	const limit = 1000
	large := strings.Repeat("x", 2*limit)
	handle, servers, results := handing(t)
	w := newFlowWorld(t, bus.NewLocal(bus.WithMaxFrameSize(limit)), handle, dynamic.WithLogger(discard))
	for name, cause := range map[string]error{
		"error":   errors.NewErrorf(errors.NotFound, "%s", large),
		"details": errors.NewError(errors.NotFound, errors.New("gone"), say(large)),
	} {
		client := w.open(t, flow)
		server := requireSoon(t, servers, "handler")
		for _, send := range []func(text, ...dynamic.StreamOption) error{client.Send, server.Send} {
			err := send(say(large), dynamic.WithStreamTimeout(time.Hour))
			requireCode(t, errors.ResourceExhausted, err)
			requireFacts(t, errors.ReasonTooLarge, err)
		}
		require.NoError(t, client.Err())
		results <- cause
		requireSoon(t, client.Context().Done(), "close by the server's "+name)
		coded := requireCode(t, errors.NotFound, client.Err())
		assert.Contains(t, coded.Error(), "1000", "the limit")
		assert.Contains(t, coded.Error(), flow)

		client = w.open(t, flow)
		server = requireSoon(t, servers, "handler")
		require.NoError(t, client.Close(cause), "the server was told")
		requireSoon(t, server.Context().Done(), "close by the client's "+name)
		requireCode(t, errors.NotFound, server.Err())
		results <- nil
	}
	_, err := w.tryOpen(t, t.Context(), flow, dynamic.WithMetadata(map[string]string{"large": large}))
	requireCode(t, errors.ResourceExhausted, err)
	requireFacts(t, errors.ReasonTooLarge, err)
}
