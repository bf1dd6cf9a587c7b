package dynamic_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A conn may close just when the bus has confirmed a subscription. Updates that still arrive must
// not cause a panic.
func TestSubscribe_ConnClosesMeanwhile(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	update, err := wire.AppendMessageFrame(nil, wire.Body{}, "test.Response", 0)
	require.NoError(t, err)
	b.subscribe = func(
		ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
	) (bus.Subscription, error) {
		subscription, err := b.Bus.Subscribe(ctx, channel, join, deliver)
		if join == bus.Queue {
			assert.NoError(t, w.conn.Close())
			assert.NotPanics(t, func() { deliver(update) })
		}
		return subscription, err
	}
	client, err := dynamic.NewClient[proto.Message, proto.Message](w.conn, "test.Updates/Changed")
	require.NoError(t, err)
	_, err = client.Subscribe(t.Context())
	require.ErrorIs(t, err, errors.ErrClientClosed)
}

// Requests that need no claim are not run if they arrive long after they were sent. This applies to
// the first request of a client and to later ones.
func TestServer_LateRequestsOfAnUnknownClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := peer{t, w.bus}
		ran := make(chan string, 2)
		handler := dynamic.Unary(func(_ context.Context, request text) (text, error) {
			ran <- request.GetValue()
			return request, nil
		})
		w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler})
		for i, id := range []string{"REQ_late00000000", "REQ_late00000001"} {
			request := newRequest(id, id)
			sent := time.Now().Add(-10*time.Second + time.Duration(i)*20*time.Millisecond)
			request.SentAt, request.Expiry = sent.UnixNano(), sent.Add(3*time.Second).UnixNano()
			p.send(requestChannel("Direct"), request)
			synctest.Wait()
		}
		assert.Empty(t, ran)
		assert.EqualValues(t, 2, w.server.Stats().Expired)
	})
}

// The shutdown of an idle server succeeds even if its context has already ended.
func TestServer_ShutdownWhenIdleWithEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Repeat the test: if the context has ended and another case of a select statement is also
	// ready, the statement chooses one of them at random.
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
			_, err := w.call(t, echo, "x")
			require.NoError(t, err)
			synctest.Wait()
			require.NoError(t, w.server.Shutdown(ctx))
		})
	}
}

func TestPublish_OnClosedConn(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	require.NoError(t, w.conn.Close())
	require.ErrorIs(t, dynamic.Publish(t.Context(), w.conn, "test.Updates/Changed", nil), errors.ErrClientClosed)
	assert.Empty(t, b.sent())
}

// RegisterTopic fails if the topic is deregistered while it waits for the bus. This must not affect
// a later registration of the same topic.
func TestRegistration_RegisterTopicThatFailsSparesALaterOne(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	reg := newRegistry(t, `syntax = "proto3"; package topical; import "options.proto"; message M {}
service S { rpc T(M) returns (M) {
  option (psrpc.options).topics = true;
  option (psrpc.options).topic_params.single_server = true;
} }`)
	server := dynamic.NewServer(b)
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	registration, err := server.Register(descriptor(t, reg, "topical.S"), dynamic.Handlers{"T": dynamic.Raw(
		func(context.Context, *registry.Method, []byte) ([]byte, error) { return nil, nil })})
	require.NoError(t, err)
	var subscribed atomic.Bool
	blocked, release := make(chan struct{}), make(chan struct{})
	b.subscribe = func(
		ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
	) (bus.Subscription, error) {
		if subscribed.CompareAndSwap(false, true) {
			close(blocked)
			<-release
		}
		return b.Bus.Subscribe(ctx, channel, join, deliver)
	}
	first := make(chan error, 1)
	go func() { first <- registration.RegisterTopic("T", "x") }()
	requireSoon(t, blocked, "subscription")
	require.NoError(t, registration.DeregisterTopic("T", "x"))
	require.NoError(t, registration.RegisterTopic("T", "x"))
	close(release)
	require.Error(t, requireSoon(t, first, "end of the first RegisterTopic"))
	conn, err := dynamic.NewConn(b, reg, patientConn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	_, err = dynamic.Invoke(t.Context(), conn, "topical.S/T", nil, dynamic.WithTopic("x"))
	require.NoError(t, err)
}

// slowSubscription is a subscription whose Close waits until it is released.
type slowSubscription struct {
	bus.Subscription

	closing func() // is called when Close begins
	release <-chan struct{}
}

func (s *slowSubscription) Close() {
	s.closing()
	<-s.release
	s.Subscription.Close()
}

// Every call to Close waits until the conn has closed, even if another call was first.
func TestConn_SecondCloseWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b)
		started, release := make(chan struct{}), make(chan struct{})
		closing := sync.OnceFunc(func() { close(started) })
		b.subscribe = func(
			ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
		) (bus.Subscription, error) {
			subscription, err := b.Bus.Subscribe(ctx, channel, join, deliver)
			return &slowSubscription{subscription, closing, release}, err
		}
		textClient(t, w.conn, echo)
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- w.conn.Close() }()
			<-started
		}
		synctest.Wait()
		assert.Empty(t, closed)
		close(release)
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
	})
}
