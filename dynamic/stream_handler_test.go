package dynamic_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestStreamHandler_DoesNotFit(t *testing.T) {
	t.Parallel()
	type (
		number = *wrapperspb.Int32Value
		toText = dynamic.ServerStream[text, number]
		toNum  = dynamic.ServerStream[number, text]
	)
	constant := func(context.Context) float32 { return 1 }
	for _, tt := range []struct {
		name, method string
		handler      dynamic.Handler
		want         string
	}{
		{"nil function", "Flow", dynamic.Stream[text, text](nil), "the function is nil"},
		{"received type", "Flow", dynamic.Stream(func(toText) error { return nil }),
			"type of received messages: wanted message google.protobuf.StringValue, given *wrapperspb.Int32Value"},
		{"sent type", "Flow", dynamic.Stream(func(toNum) error { return nil }),
			"type of sent messages: wanted message google.protobuf.StringValue, given *wrapperspb.Int32Value"},
		{"a call", "Ask", dynamic.Stream(idle), "the method is a single call, not a stream: use dynamic.Unary"},
		{"unary for a stream", "Flow", dynamic.Unary(echoHandler), "the method is a stream, not a call"},
		{"nil affinity", "Flow", dynamic.Stream(idle, dynamic.WithStreamAffinity(nil)), "the affinity function is nil"},
		{"affinity without claims", "Direct", dynamic.Stream(idle, dynamic.WithStreamAffinity(constant)),
			"the method's servers do not claim streams"},
		{"affinity for all", "All", dynamic.Stream(idle, dynamic.WithStreamAffinity(constant)),
			"the method's servers do not claim streams"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			reg := newRegistry(t, streamSource)
			_, err := w.server.Register(descriptor(t, reg, "streams.Flows"),
				dynamic.Handlers{tt.method: tt.handler}, dynamic.AllowMissing())
			coded := requireCode(t, errors.InvalidArgument, err)
			assert.Contains(t, coded.Error(), "service streams.Flows, method "+tt.method+": ")
			assert.Contains(t, coded.Error(), tt.want)
		})
	}
}

// TestStreamHandler_Missing checks that Register rejects a stream method without a handler. With
// AllowMissing, opening the stream returns the error unimplemented.
func TestStreamHandler_Missing(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	require.NoError(t, w.service.Close(context.Background()))
	sd := descriptor(t, w.registry, "streams.Flows")
	_, err := w.server.Register(sd, nil)
	require.ErrorContains(t, err, "method Flow: there is no handler")
	_, err = w.server.Register(sd, nil, dynamic.AllowMissing())
	require.NoError(t, err)
	for _, name := range []string{flow, directFlow, bestFlow} {
		_, err = w.tryOpen(t, t.Context(), name)
		require.ErrorIs(t, err, errors.ErrUnimplemented)
	}
}

func TestStreamHandler_Panics(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]func(serverText) error{
		"panic":                panicFlow,
		"end of the goroutine": func(serverText) error { runtime.Goexit(); return nil },
		"after Hijack":         func(stream serverText) error { stream.Hijack(); return panicFlow(stream) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &capturedLog{}
			w := newFlowWorld(t, bus.NewLocal(), handle, dynamic.WithLogger(slog.New(log)))
			for range 3 {
				stream := w.open(t, flow)
				requireSoon(t, stream.Context().Done(), "end of the stream")
				assert.Equal(t, "the handler of "+flow+" panicked", requireCode(t, errors.Internal, stream.Err()).Error())
			}
			require.NoError(t, w.server.Shutdown(context.Background()))
			records := log.errors()
			require.Len(t, records, 3)
			assert.Equal(t, flow, records[0]["method"])
			assert.Contains(t, records[0]["stack"], "goroutine ")
		})
	}
}

func panicFlow(serverText) error { panic("secret") }

// TestStreamHandler_ReturnsAfterClose checks that the error which a handler returns has no effect
// if the handler has already closed the stream.
func TestStreamHandler_ReturnsAfterClose(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), func(stream serverText) error {
		if err := stream.Close(errors.NewErrorf(errors.Aborted, "closed")); err != nil {
			return err
		}
		return errors.New("returned")
	})
	stream := w.open(t, flow)
	requireSoon(t, stream.Context().Done(), "end of the stream")
	assert.Equal(t, "closed", requireCode(t, errors.Aborted, stream.Err()).Error())
}

// TestStreamHandler_Hijack checks that a hijacked stream stays open when its handler returns, even
// with an error.
func TestStreamHandler_Hijack(t *testing.T) {
	t.Parallel()
	hijacked := make(chan serverText, 1)
	returned := make(chan struct{}, 1)
	w := newFlowWorld(t, bus.NewLocal(), func(stream serverText) error {
		defer func() { returned <- struct{}{} }()
		stream.Hijack()
		hijacked <- stream
		return errors.New("without effect")
	})
	client := w.open(t, flow)
	server := requireSoon(t, hijacked, "stream")
	requireSoon(t, returned, "handler")
	for range 10 {
		require.NoError(t, client.Send(say("there")))
		requireText(t, "there", server.Channel())
		require.NoError(t, server.Send(say("back")))
		requireText(t, "back", client.Channel())
	}
	require.NoError(t, server.Close(nil))
	requireClosed(t, client.Channel())
	requireClosed(t, server.Channel())

	// The shutdown of the server closes a hijacked stream without waiting for it.
	client = w.open(t, flow)
	server = requireSoon(t, hijacked, "stream")
	require.NoError(t, w.server.Shutdown(context.Background()))
	require.ErrorIs(t, client.Err(), errors.ErrStreamEOF)
	require.ErrorIs(t, server.Err(), errors.ErrStreamEOF)
}

// TestStreamHandler_SendsWhatDoesNotFit checks that Send returns an error to the handler if the
// message has the wrong type.
func TestStreamHandler_SendsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	require.NoError(t, w.service.Close(context.Background()))
	sent := make(chan error, 1)
	handle := func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
		sent <- stream.Send(wrapperspb.Bool(true))
		return nil
	}
	_, err := w.server.Register(descriptor(t, w.registry, "streams.Flows"),
		dynamic.Handlers{"Flow": dynamic.Stream(handle)}, dynamic.AllowMissing())
	require.NoError(t, err)
	w.open(t, flow)
	assert.Contains(t, requireCode(t, errors.InvalidArgument, requireSoon(t, sent, "send")).Error(), flow)
}
