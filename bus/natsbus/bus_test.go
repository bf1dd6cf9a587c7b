package natsbus_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout is the timeout for events that must happen. In a passing test, they take much less
// time.
const testTimeout = 20 * time.Second

var (
	quiet = natsbus.WithLogger(slog.New(slog.DiscardHandler))
	// allReports makes a bus report each frame that no process handles, even on a busy machine.
	allReports = natsbus.WithConfirmInterval(time.Hour)
	// noLateFrames makes a bus wait until all frames of a trial have come back, even on a busy
	// machine. It must only be used if no process serves the method.
	noLateFrames = natsbus.WithTrialTimeout(time.Hour)
	// requests and others are channels that share a subject. results is a channel with its own
	// subject.
	requests = bus.Channel{Name: "Svc|Method|REQ", Subject: "SRV.Svc.Q", Key: "Method.REQ"}
	others   = bus.Channel{Name: "Svc|Other|REQ", Subject: "SRV.Svc.Q", Key: "Other.REQ"}
	results  = bus.Channel{Name: "Svc|ID|RES", Subject: "CLI.Svc.ID.RES"}
)

// connect returns a connection that is closed when the test ends. Attempts to connect have a long
// timeout, because the machine may be slow.
func connect(tb testing.TB, url string, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	closed := make(chan struct{})
	closedHandler := nats.ClosedHandler(func(*nats.Conn) { close(closed) })
	opts = append(append(natsbus.ConnOptions(), nats.Timeout(testTimeout), closedHandler), opts...)
	nc, err := nats.Connect(url, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// newBus returns a bus that has its own connection. Both are closed when the test ends.
func newBus(tb testing.TB, url string, opts ...natsbus.Option) *natsbus.Bus {
	tb.Helper()
	return newBusOn(tb, connect(tb, url), opts...)
}

// newBusOn returns a bus that uses nc. By default, its probe interval is so long that the bus does
// not reconnect because the machine is slow.
func newBusOn(tb testing.TB, nc *nats.Conn, opts ...natsbus.Option) *natsbus.Bus {
	tb.Helper()
	b, err := natsbus.New(nc, append([]natsbus.Option{quiet, natsbus.WithProbeInterval(testTimeout)}, opts...)...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// addr returns the host and port of a NATS URL.
func addr(url string) string { return strings.TrimPrefix(url, "nats://") }

// soon returns the next value from a channel. It fails the test if none arrives within testTimeout.
func soon[T any](tb testing.TB, signal <-chan T, what string) T {
	tb.Helper()
	timer := time.NewTimer(testTimeout)
	defer timer.Stop()
	select {
	case value := <-signal:
		return value
	case <-timer.C:
		require.FailNow(tb, "timed out waiting for: "+what)
		panic("unreachable")
	}
}

// listen subscribes to a channel of the bus. It returns the subscription and a Go channel with a
// large buffer that receives the frames.
func listen(tb testing.TB, b bus.Bus, channel bus.Channel, join bus.Mode) (<-chan []byte, bus.Subscription) {
	tb.Helper()
	frames := make(chan []byte, 1<<16)
	s, err := b.Subscribe(tb.Context(), channel, join, func(frame []byte) { frames <- frame })
	require.NoError(tb, err)
	return frames, s
}

func publish(tb testing.TB, b bus.Bus, channel bus.Channel, frame []byte) {
	tb.Helper()
	require.NoError(tb, b.Publish(tb.Context(), channel, frame, nil))
}

// events collects the events of a bus.
type events chan bus.Event

func newEvents() (events, natsbus.Option) {
	e := make(events, 1024)
	return e, natsbus.WithEventHandler(func(event bus.Event) { e <- event })
}

// next returns the next event. It requires that the event has the given kind.
func (e events) next(tb testing.TB, kind bus.EventKind) bus.Event {
	tb.Helper()
	event := soon(tb, e, kind.String())
	require.Equal(tb, kind, event.Kind, "%v", event.Err)
	return event
}

// reports is a [bus.DeliveryReport] that collects the results.
type reports chan published

type published struct {
	receivers int
	err       error
}

func newReports() reports { return make(reports, 1024) }

func (r reports) Delivered(receivers int, err error) { r <- published{receivers, err} }

func requireCode(tb testing.TB, code errors.ErrorCode, err error) {
	tb.Helper()
	require.Error(tb, err)
	coded, ok := errors.AsType[errors.Error](err)
	require.True(tb, ok, "%T: %v", err, err)
	require.Equal(tb, code, coded.Code(), "%v", err)
}

func TestBus_Conformance(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]natsbus.Option{
		"plain":              nil,
		"prefix":             {natsbus.WithPrefix("staging.")},
		"subject per method": {natsbus.WithSubjectPerMethod()},
	} {
		// The subtests do not run in parallel, because each of them floods the server with frames.
		t.Run(name, func(t *testing.T) {
			server := testenv.NATSProcess(t)
			bustest.Run(t, bustest.Network{
				Connect:              func(tb testing.TB) bus.Bus { return newBus(tb, server.URL(), opts...) },
				DetectsNoSubscribers: true,
				MaxFrameSize:         1 << 20,
			})
		})
	}
}

func TestBus_ConformanceOnOneConnection(t *testing.T) {
	t.Parallel()
	server := testenv.NATSProcess(t)
	nc := connect(t, server.URL())
	bustest.Run(t, bustest.Network{
		Connect:              func(tb testing.TB) bus.Bus { return newBusOn(tb, nc) },
		DetectsNoSubscribers: true,
		MaxFrameSize:         1 << 20,
	})
}

func TestNew_InvalidArguments(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	_, err := natsbus.New(nil)
	requireCode(t, errors.InvalidArgument, err)

	_, err = natsbus.New(connect(t, url, nats.NoEcho()))
	requireCode(t, errors.FailedPrecondition, err)

	closed := connect(t, url)
	closed.Close()
	_, err = natsbus.New(closed)
	requireCode(t, errors.Unavailable, err)

	_, err = natsbus.New(connect(t, url), natsbus.WithProbeInterval(0), natsbus.WithPendingLimit(-1), natsbus.WithLogger(nil))
	require.ErrorContains(t, err, "probe interval")
	require.ErrorContains(t, err, "pending limit")
	require.ErrorContains(t, err, "logger")
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		requireCode(t, errors.InvalidArgument, one)
	}
}

func TestBus_Stats(t *testing.T) {
	t.Parallel()
	var b bus.Monitored = newBus(t, testenv.NATS(t).URL())
	frames, _ := listen(t, b, requests, bus.Broadcast)
	for range 3 {
		publish(t, b, requests, nil)
	}
	for range 3 {
		soon(t, frames, "frame")
	}
	assert.Equal(t, bus.Stats{Connected: true, Published: 3, Received: 3}, b.Stats())
}

func TestBus_SubscribeIsUndoneIfItsContextEnds(t *testing.T) {
	t.Parallel()
	server := testenv.NATS(t)
	proxy := testenv.NewProxy(t, addr(server.URL()))
	b, sender := newBus(t, "nats://"+proxy.Addr()), newBus(t, server.URL())
	// The delay is so long that the confirmation does not arrive before the context has ended.
	proxy.Delay(3 * time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Subscribe(ctx, results, bus.Broadcast, func([]byte) { assert.Fail(t, "delivered") })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	proxy.Delay(0)

	// When listen returns, the server has processed everything that was sent before.
	_, other := listen(t, b, requests, bus.Broadcast)
	other.Close()
	nobody := newReports()
	require.NoError(t, sender.Publish(t.Context(), results, nil, nobody))
	assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
}

func TestBus_InvalidSubject(t *testing.T) {
	t.Parallel()
	b := newBus(t, testenv.NATS(t).URL())
	bad := bus.Channel{Name: "a b", Subject: "SRV.a b"}
	requireCode(t, errors.InvalidArgument, b.Publish(t.Context(), bad, nil, nil))
	requireCode(t, errors.InvalidArgument, b.Publish(t.Context(), bad, nil, newReports()))
	_, err := b.Subscribe(t.Context(), bad, bus.Broadcast, func([]byte) {})
	requireCode(t, errors.InvalidArgument, err)
	require.ErrorContains(t, err, `"SRV.a b"`)
}

func TestBus_ServerWithoutHeaders(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t, func(o *server.Options) { o.NoHeaderSupport = true })
	b := newBus(t, broker.URL())
	frames, _ := listen(t, b, requests, bus.Broadcast)
	require.NoError(t, b.Publish(t.Context(), requests, []byte{}, newReports()))
	soon(t, frames, "frame")
	nobody := newReports()
	require.NoError(t, b.Publish(t.Context(), others, []byte{}, nobody))
	publish(t, b, requests, nil)
	soon(t, frames, "frame after that")
	assert.Empty(t, nobody)
}
