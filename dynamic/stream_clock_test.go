package dynamic_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// wrongClock is the bus of a process whose clock is ahead. It shifts the times of all requests and
// stream frames that the process sends or receives.
type wrongClock struct {
	bus.Bus

	ahead *atomic.Int64 // how far the clock is ahead, in nanoseconds
}

func newWrongClock(b bus.Bus, ahead time.Duration) wrongClock {
	clock := wrongClock{b, new(atomic.Int64)}
	clock.set(ahead)
	return clock
}

func (w wrongClock) set(ahead time.Duration) { w.ahead.Store(int64(ahead)) }

func (w wrongClock) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	return w.Bus.Publish(ctx, channel, shiftTimes(frame, w.ahead.Load()), report)
}

func (w wrongClock) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	return w.Bus.Subscribe(ctx, channel, mode, func(frame []byte) { deliver(shiftTimes(frame, -w.ahead.Load())) })
}

func shiftTimes(frame []byte, by int64) []byte {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil {
		return frame
	}
	var shifted interface {
		AppendFrame(dst []byte) ([]byte, error)
	}
	switch envelope.Kind {
	case wire.KindRequest:
		request, _ := wire.ParseRequest(envelope.Value)
		request.SentAt += by
		request.Expiry += by
		shifted = &request
	case wire.KindStream:
		stream, _ := wire.ParseStream(envelope.Value)
		stream.SentAt += by
		stream.Expiry += by
		shifted = &stream
	default:
		return frame
	}
	if moved, err := shifted.AppendFrame(nil); err == nil {
		return moved
	}
	return frame
}

// logLines stores log output and counts the lines that contain a text.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// punctual limits how long frames are valid. The clocks in the tests differ by more.
var punctual = dynamic.WithClientTimeout(dynamic.DefaultClientTimeout)

// clockWorld has a server with a wrong clock and a conn with the right time.
type clockWorld struct {
	*flowWorld

	clock                wrongClock
	server               *dynamic.Server
	serverLog, clientLog logLines
}

func newClockWorld(t testing.TB, ahead time.Duration, handle func(serverText) error) *clockWorld {
	t.Helper()
	w := &clockWorld{flowWorld: newFlowWorld(t, bus.NewLocal(), idle)}
	w.flowWorld.server.Kill()
	w.clock = newWrongClock(w.bus, ahead)
	w.server = dynamic.NewServer(w.clock, dynamic.WithServerID("SRV_wrong"), dynamic.WithLogger(w.serverLog.logger()))
	t.Cleanup(w.server.Kill)
	w.serveFlows(t, w.server, handle)
	w.conn = w.newConn(t, punctual, dynamic.WithLogger(w.clientLog.logger()))
	return w
}

// requireEchoes sends messages with pauses between them, and checks that each is sent back.
func requireEchoes(t testing.TB, stream clientText, pause time.Duration, messages int, opts ...dynamic.StreamOption) {
	t.Helper()
	for i := range messages {
		message := fmt.Sprint("message ", i)
		require.NoError(t, stream.Send(say(message), opts...), message)
		requireText(t, message, stream.Channel())
		<-time.After(pause)
	}
}

// Streams work in both directions even if the server's clock is wrong. Each side logs one warning
// about the clock of the other side.
func TestStream_WrongClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{
		time.Hour, 30 * time.Second, 2 * time.Second, time.Second, -time.Second, -2 * time.Second, -30 * time.Second, -time.Hour,
	} {
		for _, method := range []string{flow, bestFlow, allFlows, directFlow} {
			t.Run(fmt.Sprint(ahead, " ", method), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newClockWorld(t, ahead, echoFlow)
					if method == directFlow || method == allFlows {
						// From a call with a claim, the server learns how far apart the two clocks
						// are. Otherwise, it would consider a request without a claim late.
						_, err := textClient(t, w.conn, "streams.Flows/Ask").Call(
							t.Context(), say("hi"), dynamic.WithRequestTimeout(500*time.Millisecond))
						require.NoError(t, err)
					}
					for range 3 {
						stream := w.open(t, method, dynamic.WithRequestTimeout(time.Second))
						requireEchoes(t, stream, 0, 5)
						requireEchoes(t, stream, time.Minute, 3)
						require.NoError(t, stream.Close(nil))
						<-time.After(time.Second)
					}
					assert.Zero(t, w.conn.Stats().Expired)
					assert.Zero(t, w.server.Stats().Expired)
					assert.Equal(t, 1, w.serverLog.count("client clock is skewed"), w.serverLog.text.String())
					assert.Equal(t, 1, w.clientLog.count("server clock is skewed"), w.clientLog.text.String())
				})
			})
		}
	}
}

// Messages of an open stream arrive even if the server's clock is set forward or backward several
// times.
func TestStream_ClockIsSet(t *testing.T) {
	t.Parallel()
	for _, method := range []string{flow, directFlow} {
		for _, pause := range []time.Duration{0, 100 * time.Millisecond, 5 * time.Second} {
			t.Run(fmt.Sprint(method, " ", pause), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newClockWorld(t, 0, echoFlow)
					stream := w.open(t, method)
					for _, ahead := range []time.Duration{
						0, 30 * time.Second, 0, -30 * time.Second, 30 * time.Second, -time.Hour, 2 * time.Second, 24 * time.Hour, 0,
					} {
						w.clock.set(ahead)
						requireEchoes(t, stream, pause, 20)
					}
					assert.Zero(t, w.conn.Stats().Expired)
					assert.Zero(t, w.server.Stats().Expired)
					require.NoError(t, stream.Close(nil))
				})
			})
		}
	}
}

// The server's clock is set before the server sends its first message. That message must arrive
// nevertheless.
func TestStream_ClockIsSetBeforeTheFirstMessage(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{30 * time.Second, -30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			handle, servers, results := handing(t)
			w := newClockWorld(t, 0, handle)
			stream := w.open(t, flow)
			server := <-servers
			for range 100 {
				require.NoError(t, stream.Send(say("up")))
				requireText(t, "up", server.Channel())
				<-time.After(time.Second)
			}
			w.clock.set(step)
			require.NoError(t, server.Send(say("down")))
			requireText(t, "down", stream.Channel())
			results <- nil
			require.NoError(t, stream.Close(nil))
		})
	}
}

// Frames that a slow bus delays must not be mistaken for a wrong clock. Messages that arrive after
// their Send has failed are dropped.
func TestStream_LateMessagesAreNotDelivered(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 30 * time.Second, -30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			handle, servers, results := handing(t)
			w := newClockWorld(t, ahead, handle)
			held := &heldBus{Bus: w.bus}
			w.bus = held
			w.conn = w.newConn(t, punctual)
			stream := w.open(t, flow)
			server := <-servers
			require.NoError(t, stream.Send(say("punctual")))
			requireText(t, "punctual", server.Channel())
			held.hold(true)
			for range 3 {
				require.Error(t, stream.Send(say("late"), dynamic.WithStreamTimeout(time.Second)))
				<-time.After(2 * time.Second)
			}
			held.hold(false)
			require.NoError(t, stream.Send(say("punctual again")))
			requireText(t, "punctual again", server.Channel())
			assert.Empty(t, server.Channel())
			assert.EqualValues(t, 3, w.server.Stats().Expired)
			results <- nil
			require.NoError(t, stream.Close(nil))
		})
	}
}

// heldBus is a bus that can hold back stream messages. When the test releases them, the bus
// publishes them in order.
type heldBus struct {
	bus.Bus

	mu      sync.Mutex
	holding bool
	frames  []func()
}

func (h *heldBus) hold(on bool) {
	h.mu.Lock()
	h.holding = on
	frames := h.frames
	h.frames = nil
	h.mu.Unlock()
	for _, publish := range frames {
		publish()
	}
}

func (h *heldBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.holding {
		return h.Bus.Publish(ctx, channel, frame, report)
	}
	h.frames = append(h.frames, func() { _ = h.Bus.Publish(context.Background(), channel, frame, nil) })
	return nil
}

// A close takes effect however late it arrives.
func TestStream_LateClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handle, servers, _ := handing(t)
		w := newClockWorld(t, 0, handle)
		held := &heldBus{Bus: w.bus}
		w.bus = held
		w.conn = w.newConn(t, punctual)
		stream := w.open(t, flow)
		server := <-servers
		held.hold(true)
		require.NoError(t, stream.Close(nil))
		<-time.After(10 * time.Second)
		require.NoError(t, server.Err())
		held.hold(false)
		synctest.Wait()
		require.Error(t, server.Err())
	})
}
