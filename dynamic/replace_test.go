package dynamic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestReplace_EveryKindOfCall(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	w.requireVersion(t, 1)
	alone := b.open()
	for number := 2; number < 5; number++ {
		before := w.replace(t, version(number))
		w.requireVersion(t, number)
		require.NoError(t, before.Close(context.Background()))
		require.NoError(t, before.Close(context.Background()), "once more")
		w.requireVersion(t, number)
		require.Equal(t, alone, b.open(), "one version needs as much as another")
	}
	require.NoError(t, w.service.Close(context.Background()))
	_, err := w.call(t, versionsQueue, "")
	requireFacts(t, errors.ReasonNobodyListening, err)
	require.NoError(t, w.conn.Close())
	assert.Empty(t, b.open())
}

func TestReplace_TakesWhatRegisterTakes(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	service, _ := w.registry.Service("versions.Versions")
	other, err := w.server.Register(service, version(1), dynamic.WithWireName("Other"))
	require.NoError(t, err)
	intercepted := 0
	intercept := dynamic.WithServerRPCInterceptors(
		func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
			intercepted++
			return handler(ctx, request)
		})
	next, err := other.Replace(service, version(2), dynamic.WithWireName("Other"), intercept)
	require.NoError(t, err)
	assert.Equal(t, "Other", next.Service().WireName())
	renamed := registry.New()
	_, err = renamed.Register(service.Descriptor(), registry.WithWireName("Other"))
	require.NoError(t, err)
	answer, err := textClient(t, w.connTo(t, renamed), versionsQueue).Call(t.Context(), say(""))
	require.NoError(t, err)
	assert.Equal(t, "2", answer.GetValue())
	assert.Equal(t, 1, intercepted)
	w.requireVersion(t, 1)
}

// Handlers that run when their version is replaced continue, and Close of that version waits for
// them.
func TestReplace_RunningHandlersGoOn(t *testing.T) {
	t.Parallel()
	w, b := newVersionsWorld(t, bus.NewLocal()), newBlocker()
	w.replace(t, versionWith(2, dynamic.Handlers{"Queue": obedient(b)})).Kill()
	called := w.hold(t, t.Context(), versionsQueue, b)
	before := w.replace(t, version(3))
	w.requireVersion(t, 3)

	closed := make(chan error, 1)
	// This goroutine ends when the handler returns.
	go func() { closed <- before.Close(context.Background()) }()
	w.requireVersion(t, 3)
	assert.Empty(t, closed)
	assert.Empty(t, called)
	close(b.release)
	require.NoError(t, requireSoon(t, called, "call"))
	require.NoError(t, requireSoon(t, closed, "close"))
	w.requireVersion(t, 3)
}

func TestReplace_KillEndsTheRunningHandlers(t *testing.T) {
	t.Parallel()
	w, b := newVersionsWorld(t, bus.NewLocal()), newBlocker()
	w.replace(t, versionWith(2, dynamic.Handlers{"Queue": obedient(b)})).Kill()
	called := w.hold(t, t.Context(), versionsQueue, b)
	before := w.replace(t, version(3))
	before.Kill()
	requireCode(t, errors.Unavailable, requireSoon(t, called, "call"))
	w.requireVersion(t, 3)
}

func TestReplace_CancelReachesTheOldVersion(t *testing.T) {
	t.Parallel()
	w, b := newVersionsWorld(t, bus.NewLocal()), newBlocker()
	w.replace(t, versionWith(2, dynamic.Handlers{"Queue": obedient(b)})).Kill()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	called := w.hold(t, ctx, versionsQueue, b)
	before := w.replace(t, version(3))
	closed := make(chan error, 1)
	// This goroutine ends when the handler returns.
	go func() { closed <- before.Close(context.Background()) }()
	cancel()
	require.ErrorIs(t, requireSoon(t, called, "call"), context.Canceled)
	require.NoError(t, requireSoon(t, closed, "close"))
}

// A request that the old version has claimed is handled by that version, even if the client grants
// it after the replacement.
func TestReplace_GrantReachesTheOldVersion(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	p := peer{t, w.bus}
	claims := p.listen(bus.Channel(wire.ClaimRequestChannel("Versions", peerClient)), bus.Broadcast)
	responses := p.listen(bus.Channel(wire.ResponseChannel("Versions", peerClient)), bus.Broadcast)
	p.send(bus.Channel(wire.RequestChannel("Versions", "Best", nil, false)), newRequest(peerRequest, ""))
	p.nextClaim(claims)
	before := w.replace(t, version(2))
	closed := make(chan error, 1)
	// This goroutine ends when the request has been handled.
	go func() { closed <- before.Close(context.Background()) }()
	p.send(bus.Channel(wire.ClaimResponseChannel("Versions", "Best", nil)),
		&wire.ClaimResponse{RequestID: []byte(peerRequest), ServerID: []byte("SRV_test")})
	answer := p.nextResponse(responses)
	assert.Equal(t, encodedText(t, "1"), answer.Body.Raw)
	require.NoError(t, requireSoon(t, closed, "close"))
	assert.Empty(t, claims, "one version claims it")
}

// If the bus delivers a request to the old and the new version, only one of them handles it.
func TestReplace_RepeatedRequestRunsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newVersionsWorld(t, bus.NewLocal())
		p := peer{t, w.bus}
		responses := p.listen(bus.Channel(wire.ResponseChannel("Versions", peerClient)), bus.Broadcast)
		request := encode(t, newRequest("RPC_peer00000000", ""))
		for number := 2; number < 5; number++ {
			p.sendRaw(bus.Channel(wire.RequestChannel("Versions", "Direct", nil, true)), request)
			w.replace(t, version(number))
		}
		assert.Equal(t, encodedText(t, "1"), p.nextResponse(responses).Body.Raw)
		require.NoError(t, w.server.Shutdown(context.Background()))
		assert.Empty(t, responses)
		assert.EqualValues(t, 2, w.server.Stats().Duplicated)
	})
}

func TestReplace_Topics(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	require.NoError(t, w.service.RegisterTopicGroup("place", "eu"))
	require.NoError(t, w.service.RegisterTopic("Region", "us"))
	subscribed := b.open()
	before := w.replace(t, version(2))
	for _, topic := range []string{"eu", "us"} {
		answer, err := w.call(t, versionsRegion, "", dynamic.WithTopic(topic))
		require.NoError(t, err)
		assert.Equal(t, "2", answer)
	}
	require.NoError(t, before.Close(context.Background()))
	for channel, count := range subscribed {
		assert.Equal(t, count, b.open()[channel], channel)
	}

	for _, change := range []error{
		before.RegisterTopic("Region", "new"), before.DeregisterTopic("Region", "us"),
		before.RegisterTopicGroup("place", "new"), before.DeregisterTopicGroup("place", "eu"),
	} {
		requireCode(t, errors.FailedPrecondition, change)
	}
	// The new version has already inherited this topic. Registering the topic again must not cause
	// an error.
	require.NoError(t, w.service.RegisterTopic("Region", "us"))
	requireCode(t, errors.AlreadyExists, w.service.RegisterTopic("Region", "us"))
	require.NoError(t, w.service.RegisterTopic("Region", "new"))
	require.NoError(t, w.service.DeregisterTopicGroup("place", "eu"))
	_, err := w.call(t, versionsRegion, "", dynamic.WithTopic("eu"))
	requireFacts(t, errors.ReasonNobodyListening, err)
	answer, err := w.call(t, versionsRegion, "", dynamic.WithTopic("us"))
	require.NoError(t, err)
	assert.Equal(t, "2", answer)
}

// When a service is replaced, the server must still know how far off a client's clock is.
func TestReplace_ClientWhoseClockIsOff(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	conn, err := dynamic.NewConn(skewedBus{w.bus, -time.Hour}, w.registry, patient...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	// From this call, the server learns how far off the client's clock is.
	_, err = textClient(t, conn, versionsQueue).Call(t.Context(), say(""))
	require.NoError(t, err)
	require.NoError(t, w.replace(t, version(2)).Close(context.Background()))
	answer, err := textClient(t, conn, versionsDirect).Call(t.Context(), say(""))
	require.NoError(t, err)
	assert.Equal(t, "2", answer.GetValue())
}

// The old version of a service can publish updates until it is closed.
func TestReplace_OldVersionPublishesUntilItIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	updates, err := w.server.Register(descriptor(t, w.registry, "test.Updates"), nil)
	require.NoError(t, err)
	_, err = updates.Replace(descriptor(t, w.registry, "test.Updates"), nil)
	require.NoError(t, err)
	method, _ := w.registry.Method("test.Updates/Changed")
	update := dynamicpb.NewMessage(method.Output())
	require.NoError(t, updates.Publish(t.Context(), "Changed", update))
	require.NoError(t, updates.Close(context.Background()))
	require.ErrorIs(t, updates.Publish(t.Context(), "Changed", update), errors.ErrServerClosed)
}
