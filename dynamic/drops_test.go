package dynamic_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// droppedTest describes one way to make a server, a conn or a subscription drop frames.
type droppedTest struct {
	// drop causes one drop. The test calls it many times, each time with a different i.
	drop func(p peer, i int)
	// count returns the counter that must grow with each drop.
	count func(w *world) uint64
	// want holds all attributes of the log line except the error and the number of frames.
	want map[string]any
}

func droppedTests() map[string]droppedTest {
	serverBad := func(w *world) uint64 { return w.server.Stats().BadFrames }
	connBad := func(w *world) uint64 { return w.conn.Stats().BadFrames }
	warning := func(message string, facts ...any) map[string]any {
		line := map[string]any{"level": slog.LevelWarn, "msg": "dynpsrpc: " + message}
		for i := 0; i < len(facts); i += 2 {
			line[facts[i].(string)] = facts[i+1]
		}
		return line
	}
	debug := func(message string, facts ...any) map[string]any {
		line := warning(message, facts...)
		line["level"] = slog.LevelDebug
		return line
	}
	return map[string]droppedTest{
		"malformed request": {
			func(p peer, _ int) { p.sendRaw(requestChannel("Echo"), []byte("\xff\xff")) }, serverBad,
			warning("dropped bad frame", "channel", requestChannel("Echo").Name),
		},
		"wrong kind on the grant channel": {
			func(p peer, _ int) { p.send(grantChannel("Echo"), newRequest(peerRequest, "hi")) }, serverBad,
			warning("dropped bad frame", "channel", grantChannel("Echo").Name),
		},
		"malformed cancellation": {
			func(p peer, _ int) { p.sendRaw(bus.Channel(wire.CancelChannel("Echoes")), nil) }, serverBad,
			warning("dropped bad frame", "channel", wire.CancelChannel("Echoes").Name),
		},
		"too large request": {
			func(p peer, _ int) {
				p.send(requestChannel("Echo"), newRequest(peerRequest, strings.Repeat("x", 5000)))
			}, serverBad,
			warning("dropped bad frame", "channel", requestChannel("Echo").Name),
		},
		"expired request": {
			func(p peer, i int) {
				request := newRequest(requestID(i), "hi")
				request.Expiry = time.Now().UnixNano()
				p.send(requestChannel("Direct"), request)
			},
			func(w *world) uint64 { return w.server.Stats().Expired },
			warning("dropped expired frame", "method", direct, "peer", peerClient),
		},
		"malformed response": {
			func(p peer, _ int) { p.sendRaw(responseChannel("CLI_test"), []byte("\xff\xff")) }, connBad,
			warning("dropped bad frame", "channel", responseChannel("CLI_test").Name),
		},
		"malformed claim": {
			func(p peer, _ int) { p.sendRaw(claimChannel("CLI_test"), []byte("\xff\xff")) }, connBad,
			warning("dropped bad frame", "channel", claimChannel("CLI_test").Name),
		},
		"late response": {
			func(p peer, i int) {
				p.send(responseChannel("CLI_test"), &wire.Response{RequestID: []byte(requestID(i)), ServerID: []byte(peerServer)})
			},
			func(w *world) uint64 { return w.conn.Stats().Unmatched },
			debug("dropped frame whose call or stream is unknown or has ended",
				"channel", responseChannel("CLI_test").Name, "peer", peerServer),
		},
		"late claim": {
			func(p peer, i int) {
				p.send(claimChannel("CLI_test"), &wire.ClaimRequest{RequestID: []byte(requestID(i)), ServerID: []byte(peerServer)})
			},
			func(w *world) uint64 { return w.conn.Stats().Unmatched },
			debug("dropped frame whose call or stream is unknown or has ended",
				"channel", claimChannel("CLI_test").Name, "peer", peerServer),
		},
	}
}

// TestDrops_AreLoggedOncePerSecond checks that each dropped frame is counted in a log line, which
// says what was dropped and where. There is one line per second, however many frames a peer sends.
func TestDrops_AreLoggedOncePerSecond(t *testing.T) {
	t.Parallel()
	for name, tt := range droppedTests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, log := newDropWorld(t)
				p := peer{t, w.bus}
				const frames = 100
				for i := range frames {
					tt.drop(p, i)
				}
				synctest.Wait()
				assert.EqualValues(t, frames, tt.count(w))
				<-time.After(time.Second)
				synctest.Wait() // until the second line is allowed
				tt.drop(p, frames)
				synctest.Wait()
				requireDropLines(t, log, tt.want, 1, frames)
			})
		})
	}
}

// TestDrops_DuplicateIsLogged checks that the log names the client whose request the bus delivered
// twice.
func TestDrops_DuplicateIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log := newDropWorld(t)
		p := peer{t, w.bus}
		request := newRequest(peerRequest, "hi")
		for range 3 {
			p.send(requestChannel("Direct"), request)
		}
		synctest.Wait()
		assert.EqualValues(t, 2, w.server.Stats().Duplicated)
		requireDropLines(t, log, map[string]any{
			"level": slog.LevelDebug, "msg": "dynpsrpc: dropped frame that the bus has delivered twice", "method": direct, "peer": peerClient,
		}, 1)
	})
}

// TestDrops_OfStreamsAndSubscriptionsAreLogged checks that the log names the method of a dropped
// update and of a refused stream.
func TestDrops_OfStreamsAndSubscriptionsAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &capturedLog{}
		logger := dynamic.WithLogger(slog.New(log))
		w := newFlowWorld(t, bus.NewLocal(), idle, logger, dynamic.WithMaxStreams(1))
		conn := w.newConn(t, logger)
		feed, err := dynamic.InvokeSubscribe(t.Context(), conn, "test.Updates/Changed", dynamic.WithBufferSize(1))
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, dynamic.Publish(t.Context(), conn, "test.Updates/Changed", nil))
		}
		synctest.Wait()
		assert.Positive(t, feed.Stats().Dropped)
		require.NoError(t, feed.Close())
		other, err := dynamic.InvokeSubscribe(t.Context(), conn, "test.Updates/Changed")
		require.NoError(t, err)
		require.NoError(t, w.bus.Publish(t.Context(), bus.Channel(wire.RequestChannel("Updates", "Changed", nil, true)), nil, nil))
		synctest.Wait()
		assert.EqualValues(t, 1, other.Stats().BadFrames)
		lines := dropLines(log)
		require.Len(t, lines, 2, "%v", lines)
		for i, want := range []string{"dynpsrpc: dropped message because its reader is too slow", "dynpsrpc: dropped bad frame"} {
			assert.Equal(t, want, lines[i]["msg"])
			assert.Equal(t, "test.Updates/Changed", lines[i]["method"])
		}

		w.open(t, flow)
		_, err = w.tryOpen(t, t.Context(), flow)
		require.ErrorContains(t, err, "limit of 1 open streams")
		lines = log.all()
		refused := lines[len(lines)-1]
		assert.Equal(t, "dynpsrpc: refused message", refused["msg"])
		assert.Equal(t, flow, refused["method"])
		assert.Equal(t, "CLI_test", refused["peer"])
		assert.ErrorContains(t, refused["error"].(error), "limit of 1 open streams")
	})
}

// newDropWorld returns a world that accepts frames of at most 4 KiB, and the log to which it
// writes.
func newDropWorld(t testing.TB) (*world, *capturedLog) {
	t.Helper()
	log := &capturedLog{level: slog.LevelDebug}
	logger := dynamic.WithLogger(slog.New(log))
	w := newWorldOn(t, bus.NewLocal(), logger, dynamic.WithMaxFrameSize(4<<10))
	var err error
	w.conn, err = dynamic.NewConn(w.bus, w.registry, logger, dynamic.WithClientID("CLI_test"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.conn.Close()) })
	handler := dynamic.Unary(echoHandler)
	w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler})
	w.requireWorking(t)
	return w, log
}

// dropLines returns the log lines about dropped frames.
func dropLines(log *capturedLog) []map[string]any {
	return slices.DeleteFunc(log.all(), func(line map[string]any) bool { return line["frames"] == nil })
}

// requireDropLines checks the lines of the log. frames lists the number of dropped frames that
// each line must report.
func requireDropLines(t testing.TB, log *capturedLog, want map[string]any, frames ...uint64) {
	t.Helper()
	lines := dropLines(log)
	require.Len(t, lines, len(frames), "%v", lines)
	for i, line := range lines {
		assert.Equal(t, frames[i], line["frames"])
		if strings.HasSuffix(want["msg"].(string), "bad frame") {
			require.Error(t, line["error"].(error))
		}
		delete(line, "frames")
		delete(line, "error")
		assert.Equal(t, want, line)
	}
}
