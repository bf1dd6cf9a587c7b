package dynamic_test

import (
	"context"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// busyWorld is a world with a running call. Its handler runs until the test releases it.
type busyWorld struct {
	*world
	blocker

	called chan error // receives the error of the call
}

func newBusyWorld(t testing.TB, handle func(blocker) dynamic.Handler) *busyWorld {
	t.Helper()
	w := &busyWorld{world: newWorld(t), blocker: newBlocker(), called: make(chan error, 1)}
	w.serve(t, dynamic.Handlers{"Echo": handle(w.blocker)})
	client := textClient(t, w.conn, echo)
	go func() { // this goroutine ends with the call
		_, err := client.Call(context.Background(), wrapperspb.String("hi"), dynamic.WithRequestTimeout(time.Hour))
		w.called <- err
	}()
	requireSoon(t, w.started, "handler")
	return w
}

func deaf(b blocker) dynamic.Handler     { return dynamic.Unary(b.handle) }
func obedient(b blocker) dynamic.Handler { return dynamic.Unary(b.handleUntilEnd) }

func TestServer_ShutdownWaitsForHandlers(t *testing.T) {
	t.Parallel()
	w := newBusyWorld(t, obedient)
	shutdown := make(chan error, 2)
	for range 2 { // a second Shutdown must wait as well
		// This goroutine ends when Shutdown returns.
		go func() { shutdown <- w.server.Shutdown(context.Background()) }()
	}
	// Once Shutdown has begun, the server refuses new requests. The test waits until that is the
	// case.
	require.Eventually(t, func() bool {
		_, err := w.call(t, direct, "hi")
		facts, _ := errors.FactsOf(err)
		return facts.Reason == errors.ReasonNobodyListening
	}, atOnce, time.Millisecond)
	_, err := w.server.Register(descriptor(t, w.registry, "test.Updates"), nil)
	require.ErrorIs(t, err, errors.ErrServerClosed)
	select {
	case err := <-shutdown:
		require.FailNow(t, "did not wait", err)
	case <-w.server.Done():
		require.FailNow(t, "done too early")
	case err := <-w.called:
		require.FailNow(t, "the call ended early", err)
	default:
	}
	close(w.release)
	require.NoError(t, requireSoon(t, w.called, "the call"), "it was let finish")
	for range 2 {
		require.NoError(t, requireSoon(t, shutdown, "shutdown"))
	}
	requireSoon(t, w.server.Done(), "done")
	require.NoError(t, w.server.Shutdown(context.Background()), "once more")
}

func TestServer_ShutdownWhoseContextEnds(t *testing.T) {
	t.Parallel()
	w := newBusyWorld(t, obedient)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := w.server.Shutdown(ctx)
	requireCode(t, errors.DeadlineExceeded, err)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Contains(t, err.Error(), "test.Echoes")
	requireSoon(t, w.server.Done(), "done")
	// The handler was killed. Its context ended, so the caller receives the error of the killed
	// server.
	assert.Equal(t, "server SRV_test was killed", requireCode(t, errors.Unavailable, requireSoon(t, w.called, "the call")).Error())
}

func TestServer_KillEndsHandlerContexts(t *testing.T) {
	t.Parallel()
	w := newBusyWorld(t, obedient)
	w.server.Kill()
	requireSoon(t, w.server.Done(), "done")
	assert.Equal(t, "server SRV_test was killed", requireCode(t, errors.Unavailable, requireSoon(t, w.called, "the call")).Error())
	w.server.Kill()
}

func TestServer_KillDoesNotWait(t *testing.T) {
	t.Parallel()
	w := newBusyWorld(t, deaf)
	w.server.Kill()
	requireSoon(t, w.server.Done(), "done")
	_, err := w.server.Register(descriptor(t, w.registry, "test.Updates"), nil)
	require.ErrorIs(t, err, errors.ErrServerClosed)
	_, err = w.call(t, direct, "hi")
	requireFacts(t, errors.ReasonNobodyListening, err)
	close(w.release)
	require.NoError(t, requireSoon(t, w.called, "the call"), "the answer is sent all the same")
}

func TestServer_ShutdownOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := dynamic.NewServer(w.bus)
	assert.Regexp(t, `^SRV_[a-zA-Z0-9]{12}$`, server.ID())
	require.NoError(t, server.Shutdown(context.Background()))
	require.NoError(t, server.Shutdown(context.Background()))
	server.Kill()
	_, err := server.Register(descriptor(t, w.registry, "test.Updates"), nil)
	require.ErrorIs(t, err, errors.ErrServerClosed)
}

func TestRegistration_CloseWaitsForHandlers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := newBlocker()
	registration := w.serve(t, dynamic.Handlers{"Echo": obedient(b)})
	called, closed := make(chan error, 1), make(chan error, 2)
	client := textClient(t, w.conn, echo)
	go func() { // this goroutine ends with the call
		_, err := client.Call(context.Background(), nil)
		called <- err
	}()
	requireSoon(t, b.started, "handler")
	for range 2 {
		// This goroutine ends when Close returns.
		go func() { closed <- registration.Close(context.Background()) }()
	}
	require.Eventually(t, func() bool {
		_, err := w.call(t, direct, "hi")
		facts, _ := errors.FactsOf(err)
		return facts.Reason == errors.ReasonNobodyListening
	}, atOnce, time.Millisecond)
	assert.Empty(t, closed)
	close(b.release)
	require.NoError(t, requireSoon(t, called, "call"))
	for range 2 {
		require.NoError(t, requireSoon(t, closed, "close"))
	}
}

func TestRegistration_CloseWhoseContextEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := newBlocker()
	registration := w.serve(t, dynamic.Handlers{"Echo": deaf(b)})
	defer close(b.release)
	client := textClient(t, w.conn, echo)
	called := make(chan error, 1)
	go func() { // this goroutine ends with the call
		_, err := client.Call(context.Background(), nil)
		called <- err
	}()
	requireSoon(t, b.started, "handler")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := registration.Close(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Contains(t, err.Error(), "service test.Echoes: ")

	// The service can be registered again even though one of its handlers still runs.
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()})
	w.requireWorking(t)
}

func TestRegistration_KillOneOfTwo(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	handlers := dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()}
	other, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), handlers,
		dynamic.AllowMissing(), dynamic.WithWireName("Others"))
	require.NoError(t, err)
	assert.Equal(t, "Others", other.Service().WireName())
	w.serve(t, handlers)
	other.Kill()
	other.Kill()
	require.NoError(t, other.Close(context.Background()))
	for channel := range b.open() {
		assert.NotContains(t, channel, "Others")
	}
	w.requireWorking(t)
}

// twinSource declares a service with the same wire name as test.Echoes.
const twinSource = `
syntax = "proto3";
package twin;
import "google/protobuf/wrappers.proto";
service Echoes { rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
`

func TestRegister_OneWireName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	handlers := dynamic.Handlers{"Echo": dynamic.Unary(func(context.Context, text) (text, error) {
		return wrapperspb.String("twin"), nil
	})}
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()})

	twins := registry.New()
	files := fstest.MapFS{"twin.proto": {Data: []byte(twinSource)}}
	require.NoError(t, twins.ParseProto(files, "twin.proto"))
	twin := descriptor(t, twins, "twin.Echoes")
	_, err := w.server.Register(twin, handlers)
	coded := requireCode(t, errors.AlreadyExists, err)
	assert.Equal(t, "service twin.Echoes: its wire name Echoes is that of service test.Echoes on this server; "+
		"register it with dynamic.WithWireName", coded.Error())
	_, err = w.server.Register(descriptor(t, w.registry, "test.Echoes"), nil, dynamic.AllowMissing())
	requireCode(t, errors.AlreadyExists, err)
	w.requireWorking(t)

	registration, err := w.server.Register(twin, handlers, dynamic.WithWireName("Twin"))
	require.NoError(t, err)
	w.requireWorking(t)
	renamed := registry.New()
	_, err = renamed.Register(twin, registry.WithWireName("Twin"))
	require.NoError(t, err)
	conn, err := dynamic.NewConn(w.bus, renamed, patientConn)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	response, err := textClient(t, conn, "twin.Echoes/Echo").Call(t.Context(), wrapperspb.String("hi"))
	require.NoError(t, err)
	assert.Equal(t, "twin", response.GetValue())
	require.NoError(t, registration.Close(context.Background()))
	w.requireWorking(t)
}

// TestRegister_AnewWhileOthersCall registers and closes a service repeatedly while clients call it.
// Each call must either succeed or report that there is no server. The race detector finds data
// races.
func TestRegister_AnewWhileOthersCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	defer callers.Wait()
	defer close(stop)
	for _, name := range []string{echo, direct, echo, direct} {
		client := textClient(t, w.conn, name)
		callers.Go(func() {
			for {
				response, err := client.Call(t.Context(), wrapperspb.String("hi"), dynamic.WithRequestTimeout(time.Hour))
				if err != nil {
					assert.ErrorIs(t, err, errors.ErrNoResponse)
				} else {
					assert.Equal(t, "hi", response.GetValue())
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 30 {
		registration := w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()})
		w.requireWorking(t)
		require.NoError(t, registration.Close(context.Background()))
	}
}
