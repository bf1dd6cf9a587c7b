package dynamic_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

type textSubscription = dynamic.Subscription[text]

func (w *seenWorld) subscribe(t testing.TB, opts ...dynamic.RequestOption) textSubscription {
	t.Helper()
	subscription, err := textClient(t, w.conn, seenFeed).Subscribe(t.Context(), opts...)
	require.NoError(t, err)
	return subscription
}

func publishFunc(f func(ctx context.Context, update proto.Message, next dynamic.PublishHandler) error) dynamic.PublishInterceptor {
	return func(_ dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
		return func(ctx context.Context, update proto.Message) error { return f(ctx, update, next) }
	}
}

func deliveryFunc(f func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error) dynamic.SubscriptionInterceptor {
	return func(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
		return func(ctx context.Context, update proto.Message) error { return f(ctx, update, next) }
	}
}

func markPublish(mark string) dynamic.PublishInterceptor {
	return publishFunc(func(ctx context.Context, update proto.Message, next dynamic.PublishHandler) error {
		return next(ctx, marked(update, ">"+mark))
	})
}

func markDelivery(mark string) dynamic.SubscriptionInterceptor {
	return deliveryFunc(func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error {
		return next(ctx, marked(update, "<"+mark))
	})
}

func TestUpdateInterceptors_Order(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		server:   []dynamic.ServerOption{dynamic.WithServerPublishInterceptors(markPublish("a"), markPublish("b"))},
		register: []dynamic.ServiceOption{dynamic.WithServerPublishInterceptors(markPublish("c"))},
		conn: []dynamic.ConnOption{
			dynamic.WithPublishInterceptors(markPublish("d"), markPublish("e")),
			dynamic.WithSubscriptionInterceptors(markDelivery("f"), markDelivery("g")),
		},
	})
	subscription := w.subscribe(t)
	require.NoError(t, w.service.Publish(t.Context(), "Feed", say("hi")))
	requireText(t, "hi>a>b>c<f<g", subscription.Channel())
	require.NoError(t, dynamic.Publish(t.Context(), w.conn, seenFeed, say("hi")))
	requireText(t, "hi>d>e<f<g", subscription.Channel())
	assert.Equal(t, dynamic.SubscriptionStats{Received: 2}, subscription.Stats())
	require.NoError(t, subscription.Close())
	assert.Zero(t, requireClosed(t, subscription.Channel()))
	assert.NoError(t, subscription.Err())
}

func TestPublishInterceptor_Replaces(t *testing.T) {
	t.Parallel()
	type next = dynamic.PublishHandler
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name      string
		intercept func(ctx context.Context, update proto.Message, next next) error
		want      []string
		code      errors.ErrorCode
	}{
		{name: "another Go type", want: []string{"hi"}, intercept: func(ctx context.Context, update proto.Message, next next) error {
			return next(ctx, asDynamic(update))
		}},
		{name: "twice", want: []string{"hi", "hi!"}, intercept: func(ctx context.Context, update proto.Message, next next) error {
			_ = next(ctx, update)
			return next(ctx, marked(update, "!"))
		}},
		{name: "not at all", intercept: func(context.Context, proto.Message, next) error { return nil }},
		{name: "refused", code: errors.Unknown, intercept: func(context.Context, proto.Message, next) error { return errors.New("no") }},
		{name: "context", code: errors.Canceled, intercept: func(_ context.Context, update proto.Message, next next) error {
			return next(canceled, update)
		}},
		{name: "wrong update", code: errors.Internal, intercept: func(ctx context.Context, _ proto.Message, next next) error {
			return next(ctx, otherMessage)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithPublishInterceptors(publishFunc(tt.intercept))}})
			subscription := w.subscribe(t)
			if err := dynamic.Publish(t.Context(), w.conn, seenFeed, say("hi")); tt.code != "" {
				requireCode(t, tt.code, err)
			} else {
				require.NoError(t, err)
			}
			// The server publishes this update without an interceptor.
			require.NoError(t, w.service.Publish(t.Context(), "Feed", say("last")))
			for _, want := range append(tt.want, "last") {
				requireText(t, want, subscription.Channel())
			}
		})
	}
}

func TestPublishInterceptor_Panics(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{server: []dynamic.ServerOption{dynamic.WithServerPublishInterceptors(
		publishFunc(func(context.Context, proto.Message, dynamic.PublishHandler) error { panic("oh") }))}})
	assert.PanicsWithValue(t, "oh", func() { _ = w.service.Publish(t.Context(), "Feed", say("hi")) })
}

// An interceptor may deliver an update of its own before any has arrived.
func TestSubscriptionInterceptor_DeliversAtOnce(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
			assert.NoError(t, next(context.Background(), say("first")))
			return next
		})}})
	subscription := w.subscribe(t)
	require.NoError(t, w.service.Publish(t.Context(), "Feed", say("second")))
	requireText(t, "first", subscription.Channel())
	requireText(t, "second", subscription.Channel())
}

func TestSubscriptionInterceptor_Replaces(t *testing.T) {
	t.Parallel()
	type key struct{}
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(deliveryFunc(
		func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error {
			switch body(update) {
			case "refuse":
				return errors.New("no")
			case "drop":
				return nil
			case "wrong":
				return next(ctx, otherMessage)
			case "twice":
				_ = next(ctx, update)
			case "context":
				return next(ctx, say(ctx.Value(key{}).(string)))
			case "dynamic":
				return next(ctx, asDynamic(update))
			}
			return next(ctx, update)
		}))}})
	subscription, err := textClient(t, w.conn, seenFeed).Subscribe(context.WithValue(t.Context(), key{}, "value"))
	require.NoError(t, err)
	for _, update := range []string{"refuse", "drop", "wrong", "twice", "context", "dynamic", "last"} {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(update)))
	}
	for _, want := range []string{"twice", "twice", "value", "dynamic", "last"} {
		requireText(t, want, subscription.Channel())
	}
	assert.Equal(t, dynamic.SubscriptionStats{Received: 7, Refused: 2}, subscription.Stats())
}

// TestSubscriptionInterceptor_Panics checks that a panic in an interceptor ends only the
// subscription in which it occurs.
func TestSubscriptionInterceptor_Panics(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithLogger(slog.New(log)), dynamic.WithSubscriptionInterceptors(
		deliveryFunc(func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error {
			if body(update) == "panic" {
				panic("secret")
			}
			return next(ctx, update)
		}))}})
	subscription := w.subscribe(t)
	for _, update := range []string{"before", "panic", "after"} {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(update)))
	}
	requireText(t, "before", subscription.Channel())
	assert.Zero(t, requireClosed(t, subscription.Channel()))
	assert.Equal(t, "an interceptor of seen.Through/Feed panicked", requireCode(t, errors.Internal, subscription.Err()).Error())
	require.Len(t, log.all(), 1)
	assert.Equal(t, "secret", log.all()[0]["panic"])

	again := w.subscribe(t)
	require.NoError(t, w.service.Publish(t.Context(), "Feed", say("again")))
	requireText(t, "again", again.Channel())
}

// TestSubscriptionInterceptor_Slow checks that a slow interceptor does not block the publisher.
// Updates wait in the buffer, and are dropped when it is full.
func TestSubscriptionInterceptor_Slow(t *testing.T) {
	t.Parallel()
	started, release := make(chan string, 10), make(chan struct{})
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(deliveryFunc(
		func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error {
			started <- body(update)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return next(ctx, update)
		}))}})
	subscription := w.subscribe(t, dynamic.WithBufferSize(2))
	publish := func(update string) {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(update)))
	}
	publish("first")
	assert.Equal(t, "first", requireSoon(t, started, "the first"))
	for _, update := range []string{"a", "b", "c", "d"} { // the buffer has room for two of them
		publish(update)
	}
	require.Eventually(t, func() bool { return subscription.Stats().Dropped == 2 }, 10*time.Second, time.Millisecond, "the bus delivers in the background")
	release <- struct{}{}
	assert.Equal(t, "c", requireSoon(t, started, "the next"))
	requireText(t, "first", subscription.Channel())
	require.NoError(t, subscription.Close(), "it ends the interceptor's context")
	assert.LessOrEqual(t, requireClosed(t, subscription.Channel()), 1, "what it passes on when that ends may still come")
}

// TestSubscriptionInterceptor_FromElsewhere checks that an interceptor can deliver updates from
// any goroutine until the subscription ends.
func TestSubscriptionInterceptor_FromElsewhere(t *testing.T) {
	t.Parallel()
	nexts := make(chan dynamic.DeliveryHandler, 1)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(
		func(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
			assert.Equal(t, "Feed", info.Method)
			nexts <- next
			return next
		})}})
	subscription := w.subscribe(t)
	next := <-nexts
	require.NoError(t, next(t.Context(), say("from elsewhere")))
	requireText(t, "from elsewhere", subscription.Channel())
	require.NoError(t, subscription.Close())
	requireCode(t, errors.Canceled, next(t.Context(), say("too late")))
}

// TestSubscriptionInterceptor_Ends checks that a subscription with interceptors ends with the same
// errors as one without.
func TestSubscriptionInterceptor_Ends(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(passDelivery)}})
	ctx, cancel := context.WithCancel(t.Context())
	ofContext, err := textClient(t, w.conn, seenFeed).Subscribe(ctx)
	require.NoError(t, err)
	ofConn := w.subscribe(t)
	slow := w.subscribe(t, dynamic.WithOverflow(dynamic.EndSubscription), dynamic.WithBufferSize(1))
	cancel()
	requireClosed(t, ofContext.Channel())
	require.ErrorIs(t, ofContext.Err(), errors.ErrRequestCanceled)
	for range 4 {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say("flood")))
	}
	requireEndOf(t, slow)
	require.ErrorIs(t, slow.Err(), errors.ErrSlowConsumer)
	require.NoError(t, w.conn.Close())
	requireClosed(t, ofConn.Channel())
	require.ErrorIs(t, ofConn.Err(), errors.ErrClientClosed)
}

// requireEndOf waits until a subscription has ended, without reading its updates.
func requireEndOf(t testing.TB, subscription textSubscription) {
	t.Helper()
	require.Eventually(t, func() bool { return subscription.Err() != nil }, 10*time.Second, time.Millisecond, "it ends in the background")
}

// TestUpdateInterceptors_Metadata checks that the metadata which a publisher adds to an update
// reaches the interceptors of the subscription.
func TestUpdateInterceptors_Metadata(t *testing.T) {
	t.Parallel()
	seen := make(chan dynamic.RequestInfo, 10)
	note := deliveryFunc(func(ctx context.Context, update proto.Message, next dynamic.DeliveryHandler) error {
		incoming, ok := dynamic.RequestInfoFromContext(ctx)
		assert.True(t, ok)
		seen <- incoming
		return next(ctx, update)
	})
	attach := publishFunc(func(ctx context.Context, update proto.Message, next dynamic.PublishHandler) error {
		return next(dynamic.ContextWithMetadata(ctx, map[string]string{"by": "interceptor"}), update)
	})
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.WithServerPublishInterceptors(attach)},
		conn:   []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(note)},
	})
	subscription := w.subscribe(t)
	ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"by": "context", "key": "context"})
	option := dynamic.WithMetadata(map[string]string{"key": "option"})

	require.NoError(t, w.service.Publish(ctx, "Feed", say("one"), option))
	requireText(t, "one", subscription.Channel())
	assert.Equal(t, dynamic.RequestInfo{Metadata: map[string]string{"by": "interceptor", "key": "option"}}, <-seen)
	require.NoError(t, dynamic.Publish(ctx, w.conn, seenFeed, say("two"), option))
	requireText(t, "two", subscription.Channel())
	assert.Equal(t, dynamic.RequestInfo{Metadata: map[string]string{"by": "context", "key": "option"}}, <-seen)
	require.NoError(t, dynamic.Publish(t.Context(), w.conn, seenFeed, say("three")))
	requireText(t, "three", subscription.Channel())
	assert.Equal(t, dynamic.RequestInfo{}, <-seen)

	bad := dynamic.WithMetadata(map[string]string{"key": "\xff"})
	requireCode(t, errors.InvalidArgument, dynamic.Publish(t.Context(), w.conn, seenFeed, say("bad"), bad))
}
