package dynamic_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestOpenStream_Metadata(t *testing.T) {
	t.Parallel()
	handle, servers, _ := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"a": "1", "b": "2"})
	before := time.Now()
	_, err := w.tryOpen(t, ctx, flow, dynamic.WithMetadata(map[string]string{"b": "3"}))
	require.NoError(t, err)
	server := requireSoon(t, servers, "handler")
	incoming, ok := dynamic.RequestInfoFromContext(server.Context())
	require.True(t, ok)
	assert.Equal(t, "CLI_test", incoming.ClientID)
	assert.Equal(t, map[string]string{"a": "1", "b": "3"}, incoming.Metadata)
	assert.WithinRange(t, incoming.SentAt, before, time.Now())
	_, bounded := server.Context().Deadline()
	assert.False(t, bounded, "the expiry of the open does not bound the handler")
}

// TestOpenStream_BestServer checks that the server with the highest affinity gets the stream, as
// soon as all servers have claimed it.
func TestOpenStream_BestServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFlowWorld(t, bus.NewLocal(), idle)
		require.NoError(t, w.service.Close(context.Background()))
		for i := range 3 {
			server := w.newServer(t, dynamic.WithServerID(fmt.Sprint("SRV_", i)))
			affinity := dynamic.WithStreamAffinity(func(ctx context.Context) float32 {
				incoming, ok := dynamic.RequestInfoFromContext(ctx)
				if !ok || incoming.Metadata["prefer"] == server.ID() {
					return 10
				}
				return float32(i)
			})
			w.serveFlowsAs(t, server, affinity)
		}
		for _, name := range []string{"SRV_0", "SRV_1", "SRV_2"} {
			stream := w.open(t, bestFlow, dynamic.WithMetadata(map[string]string{"prefer": name}))
			requireText(t, name, stream.Channel())
		}
		requireText(t, "SRV_2", w.open(t, bestFlow).Channel())
		stream := w.open(t, bestFlow, dynamic.WithSelectionOpts(dynamic.SelectionOpts{
			AffinityTimeout: time.Minute, ShortCircuitTimeout: 500 * time.Millisecond,
			SelectionFunc: func(claims []*dynamic.Claim) (string, error) { return "SRV_1", nil },
		}))
		requireText(t, "SRV_1", stream.Channel())
	})
}

// serveFlowsAs registers handlers that first send the ID of the server and then send back each
// message.
func (w *flowWorld) serveFlowsAs(t testing.TB, server *dynamic.Server, affinity dynamic.HandlerOption) {
	t.Helper()
	handle := func(stream serverText) error {
		if err := stream.Send(say(server.ID())); err != nil {
			return err
		}
		return echoFlow(stream)
	}
	_, err := server.Register(descriptor(t, w.registry, "streams.Flows"), dynamic.Handlers{
		"Best": dynamic.Stream(handle, affinity), "Flow": dynamic.Stream(handle), "All": dynamic.Stream(handle),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
}

// TestOpenStream_OneOfTwo checks that each of two servers claims a stream, and that the client
// selects the first one that does. Streams never use a queue.
func TestOpenStream_OneOfTwo(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, echoFlow)
	w.serveFlows(t, w.newServer(t, dynamic.WithServerID("SRV_other")), echoFlow)
	stream := w.open(t, flow)
	require.NoError(t, stream.Send(say("hi")))
	requireText(t, "hi", stream.Channel())
	require.NoError(t, stream.Close(nil))
	acks, _ := b.sentStreams(t, wire.StreamAck)
	assert.Len(t, acks, 1+1+1, "of the open, the message, the echo")
	assert.Equal(t, 2, b.open()["Flows|Flow|STR"])
	assert.NotContains(t, b.open(), "Flows|Flow|REQ")
	assert.NotContains(t, b.open(), "Flows|Direct|RCLAIM", "its servers do not claim")
}

// TestOpenStream_Multi checks that all servers accept a stream of a multi method. The first
// acknowledgement of a message counts, and the client receives the messages of all servers.
func TestOpenStream_Multi(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	require.NoError(t, w.service.Close(context.Background()))
	for i := range 3 {
		w.serveFlowsAs(t, w.newServer(t, dynamic.WithServerID(fmt.Sprint("SRV_", i))), dynamic.WithStreamBuffer(10))
	}
	stream := w.open(t, allFlows)
	heard := map[string]int{}
	for range 3 {
		heard[requireSoon(t, stream.Channel(), "greeting").GetValue()]++
	}
	assert.Equal(t, map[string]int{"SRV_0": 1, "SRV_1": 1, "SRV_2": 1}, heard)
	require.NoError(t, stream.Send(say("hi")))
	for range 3 {
		requireText(t, "hi", stream.Channel())
	}
	require.NoError(t, stream.Close(nil))
}

func TestOpenStream_Topics(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), echoFlow)
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	client := textClient(t, w.conn, regionFlow)
	stream, err := client.Topic("eu").OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(say("hi")))
	requireText(t, "hi", stream.Channel())
	other, err := client.OpenStream(t.Context(), dynamic.WithTopic("eu"))
	require.NoError(t, err)

	_, err = client.Topic("us").OpenStream(t.Context())
	requireFacts(t, errors.ReasonNobodyListening, err)
	for _, wrong := range []*dynamic.Client[text, text]{client, client.Topic("eu", "west")} {
		_, err = wrong.OpenStream(t.Context())
		requireCode(t, errors.InvalidArgument, err)
	}

	require.NoError(t, w.service.DeregisterTopic("Region", "eu"))
	for _, s := range []clientText{stream, other} {
		requireSoon(t, s.Context().Done(), "end of the stream")
		require.ErrorIs(t, s.Err(), errors.ErrStreamEOF)
	}
	_, err = client.Topic("eu").OpenStream(t.Context())
	requireFacts(t, errors.ReasonNobodyListening, err)
}

// TestOpenStream_NobodyListens checks that OpenStream fails at once if no server receives the
// request. The client still sends a close, as psrpc does.
func TestOpenStream_NobodyListens(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, idle)
	w.server.Kill()
	for _, name := range []string{flow, directFlow, bestFlow, allFlows} {
		start := time.Now()
		_, err := w.tryOpen(t, t.Context(), name, dynamic.WithRequestTimeout(time.Hour))
		assert.Less(t, time.Since(start), atOnce)
		requireCode(t, errors.Unavailable, err)
		require.ErrorIs(t, err, errors.ErrNoResponse)
		assert.Equal(t, name, requireFacts(t, errors.ReasonNobodyListening, err).Method)
	}
	closes, _ := b.sentStreams(t, wire.StreamClose)
	require.Len(t, closes, 4)
	assert.Equal(t, "unavailable", closes[0].Code)
	assert.Equal(t, "no response from servers", closes[0].Error, "the plain text, without facts")
}

// TestOpenStream_Fails checks further reasons for which a stream cannot be opened. The close that
// the client sends has the same code and text as in psrpc.
func TestOpenStream_Fails(t *testing.T) {
	t.Parallel()
	affinity := func(value float32) func(context.Context) float32 {
		return func(context.Context) float32 { return value }
	}
	for _, tt := range []struct {
		name     string
		affinity func(context.Context) float32
		silent   bool // no server responds at all
		canceled bool
		opts     []dynamic.RequestOption
		code     errors.ErrorCode
		reason   errors.Reason
		closing  string
	}{
		{"declined", affinity(-1), false, false, nil, errors.Unavailable, errors.ReasonSilent, "unavailable: no response from servers"},
		{"panics", func(context.Context) float32 { panic("secret") }, false, false, nil,
			errors.Unavailable, errors.ReasonSilent, "unavailable: no response from servers"},
		{"no hope", affinity(0), false, false, nil,
			errors.Unavailable, errors.ReasonAllDeclined, "unavailable: no servers available (received 1 responses)"},
		{"below minimum", affinity(1), false, false, []dynamic.RequestOption{dynamic.WithSelectionOpts(dynamic.SelectionOpts{
			MinimumAffinity: 2, AffinityTimeout: 500 * time.Millisecond,
		})}, errors.Unavailable, errors.ReasonBelowMinimum, "unavailable: no servers available (received 1 responses)"},
		{"no ack", affinity(1), true, false, []dynamic.RequestOption{dynamic.WithRequestTimeout(30 * time.Millisecond)},
			errors.DeadlineExceeded, errors.ReasonSilent, "deadline_exceeded: request timed out"},
		{"canceled", affinity(1), true, true, []dynamic.RequestOption{dynamic.WithRequestTimeout(time.Hour)},
			errors.Canceled, errors.ReasonCanceled, "unknown: context canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				w := newFlowWorld(t, b, idle, dynamic.WithLogger(discard))
				w.conn = w.newConn(t, dynamic.WithSelectionTimeout(20*time.Millisecond))
				require.NoError(t, w.service.Close(context.Background()))
				method := bestFlow
				if tt.silent {
					method = directFlow
					newFlowServer(t, b, "Direct")
				} else {
					w.serveFlowsAs(t, w.newServer(t, dynamic.WithLogger(discard)), dynamic.WithStreamAffinity(tt.affinity))
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.canceled {
					b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
						// The context is canceled once the first frame has been sent.
						defer cancel()
						return b.Bus.Publish(ctx, channel, frame, report)
					}
				}
				_, err := w.tryOpen(t, ctx, method, tt.opts...)
				requireCode(t, tt.code, err)
				requireFacts(t, tt.reason, err)
				closes, _ := b.sentStreams(t, wire.StreamClose)
				require.Len(t, closes, 1)
				assert.Equal(t, tt.closing, closes[0].Code+": "+closes[0].Error)
			})
		})
	}
}

// TestOpenStream_NotSent checks that no close is published if the opening was never sent.
func TestOpenStream_NotSent(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, idle)
	client := textClient(t, w.conn, flow)
	before := len(b.sent())

	_, err := textClient(t, w.conn, "streams.Flows/Ask").OpenStream(t.Context())
	requireCode(t, errors.InvalidArgument, err)
	_, err = client.Call(t.Context(), wrapperspb.String(""))
	requireCode(t, errors.InvalidArgument, err)
	_, err = client.OpenStream(t.Context(), dynamic.WithMetadata(map[string]string{"a": "\xff"}))
	requireCode(t, errors.MalformedRequest, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.OpenStream(ctx)
	require.ErrorIs(t, err, errors.ErrRequestCanceled)
	assert.Len(t, b.sent(), before)

	b.publish = func(context.Context, bus.Channel, []byte, bus.DeliveryReport) error { return errBroken }
	_, err = client.OpenStream(t.Context())
	require.ErrorIs(t, err, errBroken)
	b.publish = nil
	closes, _ := b.sentStreams(t, wire.StreamClose)
	assert.Empty(t, closes)
	require.NoError(t, w.conn.Close())
	_, err = client.OpenStream(t.Context())
	require.ErrorIs(t, err, errors.ErrClientClosed)
}

// TestNewClient_StreamChannel checks that a client subscribes to the channel for stream frames
// only if its service has stream methods.
func TestNewClient_StreamChannel(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, idle)
	textClient(t, w.conn, echo)
	assert.NotContains(t, b.open(), "Echoes|CLI_test|STR")
	textClient(t, w.conn, "streams.Flows/Ask")
	assert.Contains(t, b.open(), "Flows|CLI_test|STR")
	require.NoError(t, w.conn.Close())
	assert.NotContains(t, b.open(), "Flows|CLI_test|STR")
}
