package dynamic_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const moreMethods = versionsMethods + `
  rpc More(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc MoreFlow(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
`

func TestReplace_RefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	subscribed := b.open()
	_, err := w.tryReplace(t, w.service, dynamic.Handlers{"Queue": nil, "Absent": version(2)["Queue"], "Flow": version(2)["Queue"]})
	requireCode(t, errors.InvalidArgument, err)
	for _, problem := range []string{"method Queue: the handler is nil", "method Absent", "method Flow"} {
		require.ErrorContains(t, err, problem)
	}
	_, err = w.tryReplace(t, w.service, version(2), dynamic.WithWireName("Other"))
	requireCode(t, errors.InvalidArgument, err)
	require.ErrorContains(t, err, "service versions.Versions, to be replaced, has the wire name Versions, "+
		"service versions.Versions has Other; see dynamic.WithWireName")
	_, err = w.service.Replace(descriptor(t, w.registry, "test.Updates"), nil)
	requireCode(t, errors.InvalidArgument, err)
	_, err = w.service.Replace(nil, nil)
	require.ErrorContains(t, err, "the service descriptor is nil")
	assert.Equal(t, subscribed, b.open())
	w.requireVersion(t, 1)
}

// TestReplace_RollsBack replaces a service repeatedly. Each time, a different one of the new
// subscriptions fails, and the old version must continue to serve.
func TestReplace_RollsBack(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	require.NoError(t, w.service.RegisterTopicGroup("place", "eu"))
	stream := w.openFlow(t)
	w.use(t, moreMethods)
	textClient(t, w.conn, versionsFlow)
	subscribed := b.open()
	failed := 0
	for n := int64(1); ; n++ {
		b.failSubscribe(n)
		next, err := w.tryReplace(t, w.service, version(2))
		if err == nil {
			w.service = next
			break
		}
		failed++
		assert.Nil(t, next)
		requireCode(t, errors.Unavailable, err)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, subscribed, b.open(), "after subscription %d", n)
		w.requireVersion(t, 1)
		requireStream(t, 1, stream)
	}
	assert.Equal(t, 5, failed, "for cancels, and for two methods with claims")
	b.subscribe = nil
	w.requireVersion(t, 2)
	requireStream(t, 1, stream)
	require.NoError(t, w.server.Shutdown(context.Background()))
	require.NoError(t, w.conn.Close())
}

func TestReplace_AfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(w *versionsWorld)
		code errors.ErrorCode
	}{
		"close":       {func(w *versionsWorld) { w.service.Close(context.Background()) }, errors.Canceled},
		"kill":        {func(w *versionsWorld) { w.service.Kill() }, errors.Canceled},
		"shutdown":    {func(w *versionsWorld) { w.server.Shutdown(context.Background()) }, errors.Canceled},
		"server kill": {func(w *versionsWorld) { w.server.Kill() }, errors.Canceled},
		"replace": {func(w *versionsWorld) {
			w.service.Replace(mustService(w.registry, "versions.Versions"), version(2))
		}, errors.FailedPrecondition},
		"replace and close": {func(w *versionsWorld) {
			w.service.Replace(mustService(w.registry, "versions.Versions"), version(2))
			w.service.Close(context.Background())
		}, errors.FailedPrecondition},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newVersionsWorld(t, bus.NewLocal())
			tt.end(w)
			next, err := w.tryReplace(t, w.service, version(3))
			assert.Nil(t, next)
			requireCode(t, tt.code, err)
			assert.Equal(t, tt.code == errors.Canceled, errors.Is(err, errors.ErrServerClosed))
			requireCode(t, tt.code, w.service.RegisterTopic("Region", "eu"))
		})
	}
}

// TestReplace_EndsMeanwhile ends the registration or the server while Replace waits for the bus.
func TestReplace_EndsMeanwhile(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *versionsWorld){
		"close":       func(w *versionsWorld) { w.service.Close(context.Background()) },
		"kill":        func(w *versionsWorld) { w.service.Kill() },
		"shutdown":    func(w *versionsWorld) { w.server.Shutdown(context.Background()) },
		"server kill": func(w *versionsWorld) { w.server.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBus()
			w := newVersionsWorld(t, b, dynamic.WithServerTimeout(time.Hour))
			require.NoError(t, w.service.RegisterTopicGroup("place", "eu"))
			w.use(t, moreMethods)
			blocked, done := b.blockSubscribe(), make(chan error, 1)
			service := mustService(w.registry, "versions.Versions")
			go func() { // this goroutine ends with the registration
				_, err := w.service.Replace(service, version(2), dynamic.AllowMissing())
				done <- err
			}()
			requireSoon(t, blocked, "subscribe")
			end(w)
			require.ErrorIs(t, requireSoon(t, done, "replace"), errors.ErrServerClosed)
			require.NoError(t, w.conn.Close())
			assert.Empty(t, b.open())
		})
	}
}

// TestReplace_AtTheSameTime checks that exactly one of several concurrent Replace calls for the
// same version succeeds.
func TestReplace_AtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	service := mustService(w.registry, "versions.Versions")
	var replacing sync.WaitGroup
	winners := make(chan int, 10)
	for number := range cap(winners) {
		replacing.Go(func() {
			_, err := w.service.Replace(service, version(number), dynamic.AllowMissing())
			if err == nil {
				winners <- number
				return
			}
			coded, _ := errors.AsType[errors.Error](err)
			assert.Equal(t, errors.FailedPrecondition, coded.Code())
		})
	}
	replacing.Wait()
	require.Len(t, winners, 1)
	w.requireVersion(t, <-winners)
}

// TestReplace_WhileItIsClosed replaces and closes a version at the same time. Whichever comes
// first, no subscription may stay open.
func TestReplace_WhileItIsClosed(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	require.NoError(t, w.conn.Close())
	require.NoError(t, w.service.Close(context.Background()))
	service := mustService(w.registry, "versions.Versions")
	for range 100 {
		r, err := w.server.Register(service, version(1), dynamic.AllowMissing())
		require.NoError(t, err)
		var closing sync.WaitGroup
		closing.Go(func() { assert.NoError(t, r.Close(context.Background())) })
		next, err := r.Replace(service, version(2), dynamic.AllowMissing())
		closing.Wait()
		if err == nil {
			require.NotEmpty(t, b.open())
			require.NoError(t, next.Close(context.Background()))
		} else {
			require.ErrorIs(t, err, errors.ErrServerClosed)
		}
		require.Empty(t, b.open())
	}
}

// TestReplace_TopicsComeAndGoMeanwhile registers a topic while the service is being replaced. If
// the registration succeeds, the new version must serve the topic.
func TestReplace_TopicsComeAndGoMeanwhile(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	for number := 2; number < 50; number++ {
		r := w.service
		var registering sync.WaitGroup
		var registered error
		registering.Go(func() { registered = r.RegisterTopic("Region", "eu") })
		require.NoError(t, w.replace(t, version(number)).Close(context.Background()))
		registering.Wait()
		if registered != nil {
			requireCode(t, errors.FailedPrecondition, registered)
			require.NoError(t, w.service.RegisterTopic("Region", "eu"))
		}
		_, err := w.call(t, versionsRegion, "", dynamic.WithTopic("eu"))
		require.NoError(t, err)
		require.NoError(t, w.service.DeregisterTopic("Region", "eu"))
	}
}

// Shutdown waits for the running handlers of a version that was replaced, even if Close has not
// been called on that version.
func TestReplace_ShutdownWaitsForTheOldVersion(t *testing.T) {
	t.Parallel()
	w, b := newVersionsWorld(t, bus.NewLocal()), newBlocker()
	w.replace(t, versionWith(2, dynamic.Handlers{"Queue": obedient(b)}))
	called := w.hold(t, t.Context(), versionsQueue, b)
	w.replace(t, version(3))
	shutdown := make(chan error, 1)
	// This goroutine ends when the handler returns.
	go func() { shutdown <- w.server.Shutdown(context.Background()) }()
	require.Eventually(t, func() bool {
		_, err := w.call(t, versionsDirect, "")
		return err != nil
	}, atOnce, time.Millisecond)
	assert.Empty(t, shutdown)
	assert.Empty(t, called)
	close(b.release)
	require.NoError(t, requireSoon(t, called, "call"))
	require.NoError(t, requireSoon(t, shutdown, "shutdown"))
}

func TestReplace_ServerEndsTheHandlersOfTheOldVersion(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, s *dynamic.Server){
		"kill": func(_ *testing.T, s *dynamic.Server) { s.Kill() },
		"shutdown": func(t *testing.T, s *dynamic.Server) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			assert.ErrorContains(t, s.Shutdown(ctx), "versions.Versions")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, b := newVersionsWorld(t, bus.NewLocal()), newBlocker()
			w.replace(t, versionWith(2, dynamic.Handlers{"Queue": obedient(b)}))
			called := w.hold(t, t.Context(), versionsQueue, b)
			w.replace(t, version(3))
			end(t, w.server)
			requireCode(t, errors.Unavailable, requireSoon(t, called, "call"))
		})
	}
}

// If a topic group cannot be registered as a whole, the topics that were registered before stay
// registered. That includes topics inherited from an older version.
func TestReplace_FailedGroupKeepsInheritedTopics(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	require.NoError(t, w.replace(t, version(2)).Close(context.Background()))
	serves := func() {
		answer, err := w.call(t, versionsRegion, "", dynamic.WithTopic("eu"))
		require.NoError(t, err)
		assert.Equal(t, "2", answer)
	}
	serves()
	b.failSubscribe(1) // the registration for the method RegionAll fails
	require.ErrorIs(t, w.service.RegisterTopicGroup("place", "eu"), errBroken)
	serves()
	b.subscribe = nil
	require.NoError(t, w.service.RegisterTopicGroup("place", "eu"), "it is still inherited")
	requireCode(t, errors.AlreadyExists, w.service.RegisterTopic("Region", "eu"))
	serves()
}
