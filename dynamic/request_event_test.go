package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// eventLog records the events of the requests of one server or conn.
type eventLog chan dynamic.RequestEvent

func newEventLog() eventLog { return make(eventLog, 1000) }

func (l eventLog) option() dynamic.Option {
	return dynamic.WithRequestEvents(func(event dynamic.RequestEvent) { l <- event })
}

// next returns short descriptions of the next n events.
func (l eventLog) next(t testing.TB, n int) (events []string) {
	t.Helper()
	for range n {
		event := requireSoon(t, l, "event")
		text := event.Info.Method + " from " + event.Peer + " "
		switch event.Kind {
		case dynamic.RequestReceived:
			text += "received"
		case dynamic.RequestExpired:
			text += "expired"
		case dynamic.ClaimDecided:
			text += event.Outcome.String()
		}
		assert.GreaterOrEqual(t, event.Wait, time.Duration(0))
		events = append(events, text)
	}
	return events
}

// eventWorld is a world whose conn, and whose servers A and B, record events. The affinity of both
// servers can be set.
type eventWorld struct {
	*world

	ofConn, ofA, ofB eventLog
}

func newEventWorld(t testing.TB, affinityA, affinityB float32) eventWorld {
	t.Helper()
	b := bus.NewLocal()
	w := eventWorld{ofConn: newEventLog(), ofA: newEventLog(), ofB: newEventLog()}
	w.world = newWorldOn(t, b, dynamic.WithServerID("A"), w.ofA.option())
	require.NoError(t, w.conn.Close())
	var err error
	w.conn, err = dynamic.NewConn(b, w.registry, dynamic.WithClientID("C"), w.ofConn.option())
	require.NoError(t, err)
	serverB := dynamic.NewServer(b, dynamic.WithServerID("B"), w.ofB.option())
	t.Cleanup(serverB.Kill)
	for server, affinity := range map[*dynamic.Server]float32{w.server: affinityA, serverB: affinityB} {
		rate := func(context.Context, text) float32 { return affinity }
		_, err = server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{
			"Best": dynamic.Unary(echoHandler, dynamic.WithAffinity(rate)),
			"Echo": dynamic.Unary(echoHandler), "Direct": dynamic.Unary(echoHandler),
		}, dynamic.AllowMissing())
		require.NoError(t, err)
	}
	return w
}

func TestRequestEvents_Affinity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t, 0.2, 0.8)
		_, err := w.call(t, best, "hi")
		require.NoError(t, err)
		assert.Equal(t, []string{"Best from C received", "Best from C lost"}, w.ofA.next(t, 2))
		assert.Equal(t, []string{"Best from C received", "Best from C granted"}, w.ofB.next(t, 2))
		assert.Equal(t, []string{"Best from B granted"}, w.ofConn.next(t, 1))
	})
}

func TestRequestEvents_AllDecline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t, -1, -1)
		_, err := w.call(t, best, "hi")
		requireFacts(t, errors.ReasonAllDeclined, err)
		assert.Equal(t, []string{"Best from C received", "Best from C declined"}, w.ofA.next(t, 2))
		assert.Equal(t, []string{"Best from C received", "Best from C declined"}, w.ofB.next(t, 2))
		assert.Equal(t, []string{"Best from  declined"}, w.ofConn.next(t, 1))
	})
}

// TestRequestEvents_WithoutGrant checks the events of methods whose requests go to one server.
func TestRequestEvents_WithoutGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newEventWorld(t, 1, 1)
		var server string
		_, err := w.call(t, echo, "hi", dynamic.WithPeer(&server))
		require.NoError(t, err)
		want := []string{"Echo from C received", "Echo from C skipped"}
		of := map[string]eventLog{"A": w.ofA, "B": w.ofB}
		assert.Equal(t, want, of[server].next(t, 2))
		assert.Equal(t, []string{fmt.Sprintf("Echo from %s skipped", server)}, w.ofConn.next(t, 1))

		// A method that is declared to have a single server requires no claims.
		_, err = w.call(t, direct, "hi", dynamic.WithPeer(&server))
		require.NoError(t, err)
		assert.Equal(t, []string{"Direct from C received"}, of[server].next(t, 1))
		for _, log := range []eventLog{w.ofA, w.ofB, w.ofConn} {
			assert.Empty(t, log)
		}
	})
}

func TestRequestEvents_NobodyServes(t *testing.T) {
	t.Parallel()
	log := newEventLog()
	w := newWorld(t)
	conn, err := dynamic.NewConn(w.bus, w.registry, log.option())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	_, err = textClient(t, conn, best).Call(t.Context(), say("hi"))
	require.Error(t, err)
	assert.Equal(t, []string{"Best from  timed_out"}, log.next(t, 1))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = textClient(t, conn, best).Call(ctx, say("hi"))
	requireCode(t, errors.Canceled, err)
	assert.Empty(t, log, "the claims were not the reason")
}

// TestRequestEvents_Deadlines checks the events of requests that have expired, and of those whose
// client selects no server.
func TestRequestEvents_Deadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newEventLog()
		w := newWorldOn(t, bus.NewLocal(), log.option())
		w.serve(t, dynamic.Handlers{"Direct": dynamic.Unary(echoHandler), "Best": dynamic.Unary(
			echoHandler, dynamic.WithAffinity(func(context.Context, text) float32 { return 1 }))})
		p := peer{t, w.bus}
		p.send(requestChannel("Best"), newRequest(peerRequest, "hi"))
		synctest.Wait()
		assert.Equal(t, []string{"Best from CLI_peer received"}, log.next(t, 1))
		<-time.After(2 * time.Minute) // virtual time, in which the request expires
		event := <-log
		assert.Equal(t, dynamic.ClaimTimedOut, event.Outcome)
		assert.Equal(t, time.Minute, event.Wait)

		late := newRequest("REQ_late", "hi")
		late.Expiry = time.Now().Add(-3 * time.Second).UnixNano()
		late.SentAt = time.Now().Add(-4 * time.Second).UnixNano()
		p.send(requestChannel("Direct"), late)
		synctest.Wait()
		assert.Equal(t, []string{"Direct from CLI_peer received"}, log.next(t, 1))
		event = <-log
		assert.Equal(t, dynamic.RequestExpired, event.Kind)
		assert.Equal(t, 3*time.Second, event.Late)
		assert.Equal(t, "test.Echoes", event.Info.Service)
		assert.EqualValues(t, 1, w.server.Stats().Expired)
	})
}

// TestRequestEvents_Malformed checks the outcome for requests that the server cannot decode. It
// answers all of them with an error. The outcome is ClaimDeclined for a method with affinity
// routing and ClaimSkipped for a queue method.
func TestRequestEvents_Malformed(t *testing.T) {
	t.Parallel()
	log := newEventLog()
	w := newWorldOn(t, bus.NewLocal(), log.option())
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler), "Best": dynamic.Unary(
		echoHandler, dynamic.WithAffinity(func(context.Context, text) float32 { return 1 }))})
	for method, outcome := range map[string]string{"Echo": "skipped", "Best": "declined"} {
		request := newRequest("REQ_malformed_"+method, "")
		request.Body, request.AnnounceAfter = wire.Body{Raw: []byte{0xff}}, 100
		peer{t, w.bus}.send(requestChannel(method), request)
		assert.Equal(t, []string{method + " from CLI_peer received", method + " from CLI_peer " + outcome}, log.next(t, 2))
	}
}

func TestRequestEvents_Stream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ofServer, ofConn := newEventLog(), newEventLog()
		w := newFlowWorld(t, bus.NewLocal(), echoFlow, ofServer.option())
		w.conn = w.newConn(t, dynamic.WithClientID("C"), ofConn.option())
		require.NoError(t, w.open(t, flow).Close(nil))
		assert.Equal(t, []string{"Flow from C received", "Flow from C granted"}, ofServer.next(t, 2))
		assert.Equal(t, []string{"Flow from SRV_test granted"}, ofConn.next(t, 1))
	})
}

// TestRequestEvents_Service checks that a handler passed to Register is called for the requests of
// that service, with the topic. A nil handler is ignored.
func TestRequestEvents_Service(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newEventLog()
		w := newWorld(t)
		w.registry = newRegistry(t, kindsSource)
		w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
		registration, err := w.server.Register(descriptor(t, w.registry, "kinds.Fleet"), dynamic.Handlers{
			"Region": dynamic.Unary(echoHandler),
		}, dynamic.AllowMissing(), log.option(), dynamic.WithRequestEvents(nil))
		require.NoError(t, err)
		require.NoError(t, registration.RegisterTopic("Region", "eu"))
		conn, err := dynamic.NewConn(w.bus, w.registry, dynamic.WithRequestEvents(nil))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		_, err = textClient(t, conn, echo).Call(t.Context(), say("hi"))
		require.NoError(t, err)
		_, err = textClient(t, conn, "kinds.Fleet/Region").Topic("eu").Call(t.Context(), say("hi"))
		require.NoError(t, err)
		event := requireSoon(t, log, "event")
		assert.Equal(t, "Region", event.Info.Method)
		assert.Equal(t, []string{"eu"}, event.Info.Topic)
		assert.Equal(t, conn.ID(), event.Peer)
	})
}

// TestRequestEvents_Panic checks that a handler that panics does not end the process or the call.
func TestRequestEvents_Panic(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithLogger(slog.New(log)),
		dynamic.WithRequestEvents(func(dynamic.RequestEvent) { panic("oh") }))
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
	_, err := w.call(t, echo, "hi")
	require.NoError(t, err)
	errorsLogged := log.errors()
	require.Len(t, errorsLogged, 2, "for the events received and skipped")
	assert.Equal(t, "dynpsrpc: handler of request events panicked", errorsLogged[0]["msg"])
}

func TestClaimOutcome_String(t *testing.T) {
	t.Parallel()
	var names []string
	for outcome := range dynamic.ClaimDeclined + 2 {
		names = append(names, outcome.String())
	}
	assert.Equal(t, []string{"unknown", "granted", "lost", "timed_out", "skipped", "declined", "unknown"}, names)
}
