package dynamic_test

import (
	"context"
	"math"
	"runtime"
	"strings"
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

type valueStruct struct{ *wrapperspb.StringValue }

// within runs f in a goroutine and fails the test if f does not return soon.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	requireSoon(t, done, "the end of "+what)
}

// Shutdown must observe its context even if it follows a Kill, a Registration.Kill or a Shutdown
// that has timed out.
func TestServer_ShutdownAfterKillHonoursItsContext(t *testing.T) {
	w := newBusyWorld(t, deaf)
	t.Cleanup(func() { <-w.called })
	defer close(w.release)
	w.server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	within(t, "Shutdown", func() {
		assert.ErrorIs(t, w.server.Shutdown(ctx), context.DeadlineExceeded)
	})
}

func TestServer_SecondShutdownHonoursItsContext(t *testing.T) {
	w := newBusyWorld(t, deaf)
	t.Cleanup(func() { <-w.called })
	defer close(w.release)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		within(t, "Shutdown", func() {
			assert.ErrorIs(t, w.server.Shutdown(ctx), context.DeadlineExceeded)
		})
	}
}

// If a client never grants a claimed request, Shutdown must not wait until the request expires. The
// client chooses the expiry, which may be in the far future.
func TestServer_ShutdownDoesNotWaitForGrants(t *testing.T) {
	w := newWorld(t)
	t.Cleanup(w.server.Kill)
	p := peer{t, w.bus}
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	claims := p.listen(claimChannel(peerClient), bus.Broadcast)
	request := newRequest("REQ_peer00000000", "hi")
	request.Expiry = math.MaxInt64
	p.send(requestChannel("Echo"), request)
	p.nextClaim(claims)
	within(t, "Shutdown", func() { w.server.Shutdown(context.Background()) })
}

// A very long timeout must not overflow the expiry of the request. Otherwise the server drops the
// request as expired, and the call hangs.
func TestCall_VeryLongTimeouts(t *testing.T) {
	for name, option := range map[string]struct {
		conn    time.Duration
		request time.Duration
		ctx     time.Duration
	}{
		"request": {request: math.MaxInt64}, "conn": {conn: math.MaxInt64}, "context": {ctx: math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
			conn, err := dynamic.NewConn(w.bus, w.registry,
				dynamic.WithClientTimeout(option.conn), dynamic.WithSelectionTimeout(patience))
			require.NoError(t, err)
			defer conn.Close()
			ctx := t.Context()
			if option.ctx > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, option.ctx)
				defer cancel()
			}
			client := textClient(t, conn, echo)
			called := make(chan error, 1)
			go func() {
				_, err := client.Call(ctx, nil, dynamic.WithRequestTimeout(option.request))
				called <- err
			}()
			assert.NoError(t, requireSoon(t, called, "end of the call"))
			assert.Zero(t, w.server.Stats().Expired)
		})
	}
}

// A call on a closed conn must not send a request.
func TestCall_OnClosedConnSendsNothing(t *testing.T) {
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	client := textClient(t, w.conn, echo)
	require.NoError(t, w.conn.Close())
	_, err := client.Call(t.Context(), nil)
	assert.ErrorIs(t, err, errors.ErrClientClosed)
	assert.Empty(t, b.sent())
}

func TestCall_OnClosedConnWithoutServer(t *testing.T) {
	w := newWorld(t)
	client := textClient(t, w.conn, echo)
	require.NoError(t, w.conn.Close())
	_, err := client.Call(t.Context(), nil)
	assert.ErrorIs(t, err, errors.ErrClientClosed)
}

// If a handler returns a nil *dynamicpb.Message, the response must be empty, as the documentation
// says. The handler must not appear to have panicked.
func TestUnary_NilDynamicResponse(t *testing.T) {
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": fits[dyn, dyn]()})
	_, err := w.call(t, echo, "hi")
	assert.NoError(t, err)
}

// NewClient must reject a struct that embeds a pointer to a generated message, or its calls must
// work. They must not panic.
func TestNewClient_StructThatEmbedsAPointer(t *testing.T) {
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	client, err := dynamic.NewClient[valueStruct, valueStruct](w.conn, echo)
	if err != nil {
		return
	}
	assert.NotPanics(t, func() { client.Call(t.Context(), valueStruct{wrapperspb.String("hi")}) })
}

func TestRegister_StructThatEmbedsAPointer(t *testing.T) {
	w := newWorld(t)
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": fits[valueStruct, valueStruct]()}, dynamic.AllowMissing())
	assert.Error(t, err)
}

// If the bus of a server is nil, Register must return an error and must not panic.
func TestNewServer_NilBus(t *testing.T) {
	server := dynamic.NewServer(nil)
	defer server.Kill()
	w := newWorld(t)
	assert.NotPanics(t, func() {
		_, err := server.Register(descriptor(t, w.registry, "test.Echoes"), nil, dynamic.AllowMissing())
		assert.Error(t, err)
	})
}

// Close of an idle registration must succeed even if its context has already ended.
func TestRegistration_CloseWhenIdleWithEndedContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		registration := w.serve(t, dynamic.Handlers{})
		require.NoError(t, registration.Close(ctx), "no handler was running")
	}
}

// If a method has affinity routing, a response that arrives before any claim must be ignored. The
// call must return the response of the selected server.
func TestClient_ResponseBeforeTheClaimIsNotTheCalls(t *testing.T) {
	c := startCall(t, "Best")
	c.answer(c.request, "early")
	c.claim(c.request, peerServer)
	c.nextGrant(c.grants)
	c.answer(c.request, "granted")
	c.requireResponse("granted")
}

// A bus may correct its delivery report. A report of 0 receivers must not fail the call if a
// corrected report follows.
func TestCall_ReportThatIsTakenBack(t *testing.T) {
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if report != nil {
			report.Delivered(0, nil)
			report.Delivered(1, nil)
		}
		go b.Bus.Publish(context.Background(), channel, frame, nil)
		return nil
	}
	_, err := w.call(t, echo, "hi")
	assert.NoError(t, err)
}

// The server must limit the size of the client IDs that it remembers, not only their number.
// Otherwise 10,000 IDs of 1 MB would occupy 10 GB.
func TestServer_HugeClientIDsAreNotKept(t *testing.T) {
	w, p := echoWorld(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 20 {
		request := newRequest("REQ_peer00000000", "hi")
		request.ClientID = []byte(strings.Repeat("x", 1<<18) + string(rune('a'+i)))
		responses := make(chan struct{}, 1)
		sub, err := w.bus.Subscribe(t.Context(), responseChannel(string(request.ClientID)), bus.Broadcast, func([]byte) { responses <- struct{}{} })
		require.NoError(t, err)
		p.send(requestChannel("Direct"), request)
		requireSoon(t, responses, "response")
		sub.Close()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(5<<20))
	runtime.KeepAlive(w)
}

// A failed Register must not leave anything in memory.
func TestRegister_FailuresLeaveNothing(t *testing.T) {
	w := newWorld(t)
	sd := descriptor(t, w.registry, "test.Echoes")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 5_000 {
		_, err := w.server.Register(sd, dynamic.Handlers{"NoSuch": identity[text]()}, dynamic.AllowMissing())
		require.Error(t, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(256<<10))
	runtime.KeepAlive(w)
}

// A server whose ID is not valid UTF-8 must either be rejected or work. It must not leave its
// calls without a response.
func TestServer_IDThatIsNotUTF8(t *testing.T) {
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithServerID("SRV_\xff"))
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": identity[text]()}, dynamic.AllowMissing())
	if err != nil {
		return // rejecting the ID is fine as well
	}
	_, err = w.call(t, echo, "hi", dynamic.WithRequestTimeout(patience))
	assert.NoError(t, err)
}

func TestNewConn_IDThatIsNotUTF8(t *testing.T) {
	w := newWorld(t)
	_, err := dynamic.NewConn(w.bus, w.registry, dynamic.WithClientID("CLI_\xff"))
	requireCode(t, errors.InvalidArgument, err)
}

// The error of Register must mention a nil handler only once.
func TestRegister_NilHandlerIsReportedOnce(t *testing.T) {
	w := newWorld(t)
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{
		"Echo": nil, "Direct": identity[text](), "Repeat": identity[dyn](), "Best": identity[text](), "Box": dynamic.Raw(rawIdentity),
	})
	// The error also has a line about Repeat, whose handler does not fit.
	assert.Equal(t, 1, strings.Count(err.Error(), "method Echo:"), err)
}

// A nil map as a request must be an empty message.
func TestInvoke_NilMap(t *testing.T) {
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Repeat": dynamic.Unary(repeatHandler)})
	_, err := dynamic.Invoke(t.Context(), w.conn, repeat, map[string]any(nil))
	assert.NoError(t, err)
}

// NewClient must stop waiting for the bus when its conn is closed.
func TestNewClient_EndsWithTheConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		defer b.Close()
		conn, err := dynamic.NewConn(b, newRegistry(t), dynamic.WithClientTimeout(time.Hour))
		require.NoError(t, err)
		b.blockSubscribe()
		start := time.Now()
		done := make(chan error)
		go func() { _, err := dynamic.NewClient[text, text](conn, echo); done <- err }()
		synctest.Wait()
		conn.Close()
		assert.ErrorIs(t, <-done, errors.ErrClientClosed)
		assert.Zero(t, time.Since(start))
	})
}

// If the server ends during Register, the error must be ErrServerClosed.
func TestRegister_InterruptedByShutdown(t *testing.T) {
	b := newFakeBus()
	w := newWorldOn(t, b, dynamic.WithServerTimeout(time.Hour))
	blocked, done := b.blockSubscribe(), make(chan error, 1)
	sd := descriptor(t, w.registry, "test.Echoes")
	go func() { _, err := w.server.Register(sd, nil, dynamic.AllowMissing()); done <- err }()
	<-blocked
	w.server.Kill()
	assert.ErrorIs(t, <-done, errors.ErrServerClosed)
}

// A call that times out must return the code deadline_exceeded. The code must not depend on which
// comes first, the client's timer or the handler's error.
func TestCall_TimeoutIsDeadlineExceeded(t *testing.T) {
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, _ text) (text, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})})
	for range 300 {
		_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(5*time.Millisecond))
		requireCode(t, errors.DeadlineExceeded, err)
	}
}

// If a claim cannot be published, the server must not wait for the grant until the request
// expires.
func TestServer_ClaimThatCannotBeSent(t *testing.T) {
	b := newFakeBus()
	w := newWorldOn(t, b)
	t.Cleanup(w.server.Kill)
	w.serve(t, dynamic.Handlers{"Best": identity[text]()})
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if strings.HasSuffix(channel.Name, "|CLAIM") {
			return errBroken
		}
		return b.Bus.Publish(ctx, channel, frame, report)
	}
	p := peer{t, b}
	p.send(requestChannel("Best"), newRequest("REQ_peer00000000", "hi"))
	within(t, "Shutdown", func() { w.server.Shutdown(context.Background()) })
}

var _ = wire.KindRequest
