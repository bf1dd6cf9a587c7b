package dynamic_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// requireNobody checks that no server accepts calls to a method.
func (w *versionsWorld) requireNobody(t testing.TB, method string, opts ...dynamic.RequestOption) {
	t.Helper()
	_, err := w.call(t, method, "", opts...)
	requireFacts(t, errors.ReasonNobodyListening, err)
}

func TestServer_DrainAndResume(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	stream := w.openFlow(t)
	requireStream(t, 1, stream)
	require.False(t, w.server.Drained())

	for range 2 { // a second Drain changes nothing
		require.NoError(t, w.server.Drain(t.Context()))
		require.True(t, w.server.Drained())
		for _, method := range []string{versionsQueue, versionsDirect, versionsBest} {
			w.requireNobody(t, method)
		}
		for response := range textClient(t, w.conn, versionsAll).Responses(t.Context(), say("")) {
			requireFacts(t, errors.ReasonNobodyListening, response.Err)
		}
	}
	requireClosed(t, stream.Channel())
	require.ErrorIs(t, stream.Err(), errors.ErrStreamEOF)

	for range 2 {
		require.NoError(t, w.server.Resume())
		require.False(t, w.server.Drained())
		w.requireVersion(t, 1)
		requireStream(t, 1, w.openFlow(t))
	}
}

// Requests that are already being handled continue. Drain waits for them as long as its context
// permits, and the server stays drained.
func TestServer_DrainWaitsForHandlers(t *testing.T) {
	t.Parallel()
	w, b := newVersionsWorld(t, bus.NewLocal()), newBlocker()
	w.replace(t, versionWith(1, dynamic.Handlers{"Queue": dynamic.Unary(b.handle)}))
	called := w.hold(t, t.Context(), versionsQueue, b)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		err := w.server.Drain(ended)
		requireCode(t, errors.Canceled, err)
		require.ErrorIs(t, err, context.Canceled)
		assert.Contains(t, err.Error(), "service versions.Versions: handlers were still running")
	}
	require.True(t, w.server.Drained())
	w.requireNobody(t, versionsDirect)

	require.NoError(t, w.server.Resume(), "a server can be resumed while it still handles requests")
	_, err := w.call(t, versionsDirect, "")
	require.NoError(t, err)
	requireCode(t, errors.Canceled, w.server.Drain(ended))
	close(b.release)
	require.NoError(t, requireSoon(t, called, "response"))
	require.NoError(t, w.server.Drain(t.Context()))
}

// Topics and services that change while the server is drained are served once it has been resumed,
// and not before.
func TestServer_ChangesWhileDrained(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	require.NoError(t, w.service.RegisterTopic("Region", "kept"))
	require.NoError(t, w.service.RegisterTopic("Region", "gone"))
	require.NoError(t, w.server.Drain(t.Context()))

	require.NoError(t, w.service.DeregisterTopic("Region", "gone"))
	require.NoError(t, w.service.RegisterTopic("Region", "new"))
	requireCode(t, errors.AlreadyExists, w.service.RegisterTopic("Region", "new"))
	requireCode(t, errors.AlreadyExists, w.service.RegisterTopic("Region", "kept"))
	requireCode(t, errors.NotFound, w.service.DeregisterTopic("Region", "gone"))
	w.replace(t, version(2))
	require.NoError(t, w.service.RegisterTopic("Region", "kept"), "the topic was taken over from the previous version")
	requireCode(t, errors.AlreadyExists, w.service.RegisterTopic("Region", "kept"))
	other, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}, dynamic.AllowMissing())
	require.NoError(t, err)

	w.requireNobody(t, versionsQueue)
	w.requireNobody(t, echo)
	for _, topic := range []string{"kept", "new", "gone"} {
		w.requireNobody(t, versionsRegion, dynamic.WithTopic(topic))
	}
	require.NoError(t, w.server.Resume())
	w.requireVersion(t, 2)
	_, err = w.call(t, echo, "")
	require.NoError(t, err)
	for _, topic := range []string{"kept", "new"} {
		answer, err := w.call(t, versionsRegion, "", dynamic.WithTopic(topic))
		require.NoError(t, err)
		assert.Equal(t, "2", answer)
	}
	w.requireNobody(t, versionsRegion, dynamic.WithTopic("gone"))

	require.NoError(t, w.server.Drain(t.Context()))
	require.NoError(t, other.Close(t.Context()))
	require.NoError(t, w.server.Resume(), "a service may be closed while the server is drained")
}

func TestServer_ServeWhileDrained(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	control, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}, dynamic.AllowMissing(), dynamic.ServeWhileDrained())
	require.NoError(t, err)
	require.NoError(t, w.server.Drain(t.Context()))
	w.requireNobody(t, versionsQueue)
	_, err = w.call(t, echo, "")
	require.NoError(t, err)
	_, err = control.Replace(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}, dynamic.AllowMissing(), dynamic.ServeWhileDrained())
	require.NoError(t, err)
	_, err = w.call(t, echo, "")
	require.NoError(t, err)
}

// If Resume fails because of the bus, the server must stay drained. Once Resume succeeds, all
// methods must be served again.
func TestServer_ResumeOnFailingBus(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	require.NoError(t, w.server.Drain(t.Context()))
	open := b.open()
	failed := 0
	for n := int64(1); ; n++ {
		b.failSubscribe(n)
		err := w.server.Resume()
		if err == nil {
			break
		}
		failed++
		require.ErrorIs(t, err, errBroken)
		require.True(t, w.server.Drained())
		require.Equal(t, open, b.open(), "after subscription %d", n)
	}
	assert.Positive(t, failed)
	b.subscribe = nil
	w.requireVersion(t, 1)
}

func TestServer_DrainAfterShutdown(t *testing.T) {
	t.Parallel()
	server := dynamic.NewServer(bus.NewLocal())
	require.NoError(t, server.Drain(t.Context()), "a server without services")
	require.Error(t, server.Drain(nil)) //nolint:staticcheck // the context is nil on purpose
	require.NoError(t, server.Shutdown(t.Context()))
	require.ErrorIs(t, server.Drain(t.Context()), errors.ErrServerClosed)
	require.ErrorIs(t, server.Resume(), errors.ErrServerClosed)
}

// Drain, Resume, Replace and the registration of topics may be called concurrently.
func TestServer_DrainConcurrently(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	changed, stop := make(chan error, 3), make(chan struct{})
	versions, echoes := descriptor(t, w.registry, "versions.Versions"), descriptor(t, w.registry, "test.Echoes")
	repeat := func(f func() error) {
		for {
			select {
			case <-stop:
				changed <- nil
				return
			default:
			}
			if err := f(); err != nil {
				changed <- err
				return
			}
		}
	}
	go repeat(func() error { return errors.Join(w.server.Drain(context.Background()), w.server.Resume()) })
	go repeat(func() error {
		next, err := w.service.Replace(versions, version(1), dynamic.AllowMissing())
		if err == nil {
			w.service = next
			err = errors.Join(next.RegisterTopic("Region", "here"), next.DeregisterTopic("Region", "here"))
		}
		return err
	})
	go repeat(func() error {
		other, err := w.server.Register(echoes, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}, dynamic.AllowMissing())
		if err == nil {
			err = other.Close(context.Background())
		}
		return err
	})
	time.AfterFunc(200*time.Millisecond, func() { close(stop) })
	for range cap(changed) {
		require.NoError(t, requireSoon(t, changed, "end"))
	}
	require.NoError(t, w.server.Resume())
	w.requireVersion(t, 1)
}
