package dynamic_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// use sets the methods that the next version of the service declares, and connects a conn that
// knows them.
func (w *versionsWorld) use(t testing.TB, methods string) {
	t.Helper()
	w.registry = newRegistry(t, versionsHead+methods+"}")
	w.conn = w.connTo(t, w.registry)
}

func TestReplace_MethodIsAdded(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, newFakeBus())
	w.use(t, versionsMethods+"rpc New(google.protobuf.StringValue) returns (google.protobuf.StringValue);")
	_, err := w.call(t, "versions.Versions/New", "")
	requireFacts(t, errors.ReasonNobodyListening, err)
	before := w.replace(t, versionWith(2, dynamic.Handlers{"New": version(2)["Queue"]}))
	answer, err := w.call(t, "versions.Versions/New", "")
	require.NoError(t, err)
	assert.Equal(t, "2", answer)
	w.requireVersion(t, 2)
	require.NoError(t, before.Close(context.Background()))
	w.requireVersion(t, 2)
}

func TestReplace_MethodIsRemoved(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]func(*dynamic.Registration) error{
		"and the old version closed": func(r *dynamic.Registration) error { return r.Close(context.Background()) },
		"and the old version is not": func(*dynamic.Registration) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, b := newFakeBus(), newBlocker()
			w := newVersionsWorld(t, fake)
			w.replace(t, versionWith(2, dynamic.Handlers{"Best": obedient(b)})).Kill()
			require.NoError(t, w.service.RegisterTopicGroup("place", "eu"))
			called, gone := w.hold(t, t.Context(), versionsBest, b), textClient(t, w.conn, versionsBest)

			w.use(t, `rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue);`)
			before := w.replace(t, dynamic.Handlers{"Queue": version(3)["Queue"]})
			_, err := gone.Call(t.Context(), say(""))
			requireFacts(t, errors.ReasonNobodyListening, err)
			close(b.release)
			require.NoError(t, requireSoon(t, called, "call"), "it was being handled")
			require.NoError(t, old(before))
			answer, err := w.call(t, versionsQueue, "")
			require.NoError(t, err)
			assert.Equal(t, "3", answer)
			// The server closes the subscriptions of the removed methods once the handler has
			// returned.
			require.Eventually(t, func() bool {
				for channel := range fake.open() {
					if strings.Contains(channel, "Best|") || strings.Contains(channel, "Region") {
						return false
					}
				}
				return true
			}, atOnce, time.Millisecond)
		})
	}
}

// A new version may change any property of a method. Clients that know the new version must be
// served, and again after the change is reverted.
func TestReplace_MethodChanges(t *testing.T) {
	t.Parallel()
	single := func(t *testing.T, w *versionsWorld) {
		answer, err := w.call(t, versionsQueue, "")
		require.NoError(t, err)
		assert.Equal(t, "2", answer)
	}
	for options, check := range map[string]func(t *testing.T, w *versionsWorld){
		"type: AFFINITY":                        single,
		"topic_params: { single_server: true }": single,
		"topics: true": func(t *testing.T, w *versionsWorld) {
			require.NoError(t, w.service.RegisterTopic("Queue", "eu"))
			answer, err := w.call(t, versionsQueue, "", dynamic.WithTopic("eu"))
			require.NoError(t, err)
			assert.Equal(t, "2", answer)
		},
		"type: MULTI": func(t *testing.T, w *versionsWorld) {
			assert.EqualValues(t, 2, callOnce(t, textClient(t, w.conn, versionsQueue), true))
		},
		"stream: true": func(t *testing.T, w *versionsWorld) {
			stream, err := textClient(t, w.conn, versionsQueue).OpenStream(t.Context())
			require.NoError(t, err)
			requireStream(t, 2, stream)
		},
		"subscription: true": func(t *testing.T, w *versionsWorld) {
			updates, err := textClient(t, w.conn, versionsQueue).Subscribe(t.Context())
			require.NoError(t, err)
			require.NoError(t, w.service.Publish(t.Context(), "Queue", say("news")))
			requireText(t, "news", updates.Channel())
			require.NoError(t, updates.Close(), "it is on the channel of a call")
		},
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			w := newVersionsWorld(t, newFakeBus())
			original := w.registry
			w.use(t, "rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options) = { "+options+" }; }")
			handlers := dynamic.Handlers{"Queue": version(2)["Queue"]}
			switch options {
			case "stream: true":
				handlers["Queue"] = version(2)["Flow"]
			case "subscription: true":
				delete(handlers, "Queue")
			}
			before := w.replace(t, handlers)
			require.NoError(t, before.Close(context.Background()))
			check(t, w)

			w.registry, w.conn = original, w.connTo(t, original)
			w.replace(t, version(3))
			w.requireVersion(t, 3)
		})
	}
}

// A new version may require claims for a method that did not need them before. The method keeps
// its channel.
func TestReplace_MethodIsClaimedFromNowOn(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, newFakeBus())
	w.use(t, "rpc Direct(google.protobuf.StringValue) returns (google.protobuf.StringValue);")
	before := w.replace(t, dynamic.Handlers{"Direct": version(2)["Direct"]})
	require.NoError(t, before.Close(context.Background()))
	p := peer{t, w.bus}
	claims := p.listen(bus.Channel(wire.ClaimRequestChannel("Versions", peerClient)), bus.Broadcast)
	responses := p.listen(bus.Channel(wire.ResponseChannel("Versions", peerClient)), bus.Broadcast)
	p.send(bus.Channel(wire.RequestChannel("Versions", "Direct", nil, true)), newRequest(peerRequest, ""))
	p.nextClaim(claims)
	p.send(bus.Channel(wire.ClaimResponseChannel("Versions", "Direct", nil)),
		&wire.ClaimResponse{RequestID: []byte(peerRequest), ServerID: []byte("SRV_test")})
	assert.Equal(t, encodedText(t, "2"), p.nextResponse(responses).Body.Raw)
}
