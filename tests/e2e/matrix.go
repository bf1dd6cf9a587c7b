package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// requireEqual requires that two messages are equal. If they are not, the failure message contains
// description.
func requireEqual(t testing.TB, want, got proto.Message, description ...any) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "wanted %v, got %v: %v", want, got, fmt.Sprint(description...))
}

// forEachMethod calls f for three methods of each kind: without a topic, with a topic of one part,
// and with a topic of two parts.
func forEachMethod(kinds []string, f func(kind string, method string, topic []string)) {
	for _, kind := range kinds {
		for _, address := range addressings {
			f(kind, kind+address.suffix, address.topic)
		}
	}
}

// testMatrixCalls makes calls of every kind, with and without topics, for every combination of
// message representations on the client and the server. The results must always be the same.
func testMatrixCalls(t *testing.T, network Network) {
	servers := map[string]func(kind string) dynamic.Handler{
		"raw": func(string) dynamic.Handler { return dynamic.Raw(answeringRaw) },
	}
	for _, shape := range shapes {
		servers[shape.name] = func(kind string) dynamic.Handler {
			if kind == kindAffinity {
				return shape.best()
			}
			return shape.unary()
		}
	}
	for name, newHandler := range servers {
		t.Run("server="+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network)
			handlers := dynamic.Handlers{}
			forEachMethod(callKinds, func(kind, method string, _ []string) { handlers[method] = newHandler(kind) })
			w.serveTopics(w.serve(w.server(), calls, handlers), callKinds)
			conn := w.conn()
			for _, shape := range shapes {
				forEachMethod(callKinds, func(kind, method string, topic []string) {
					request := sample(shape.name)
					call := shape.caller(t, conn, fullName(calls, method), topic)
					response, err := call(t.Context(), request)
					if assert.NoError(t, err, "client %s, method %s", shape.name, method) {
						assert.True(t, proto.Equal(respond(request), response), "client %s, method %s", shape.name, method)
					}
				})
			}
			assert.Zero(t, conn.Stats())
		})
	}
}

// testMatrixStreams is like testMatrixCalls, but checks streams.
func testMatrixStreams(t *testing.T, network Network) {
	messages := []*api.MyClientMessage{{Sequence: 1, Payload: []byte("one")}, {Sequence: -2}, {Payload: []byte("three")}}
	for _, server := range shapes {
		t.Run("server="+server.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network)
			handlers := dynamic.Handlers{}
			forEachMethod(streamKinds, func(_, method string, _ []string) { handlers[method] = server.stream() })
			w.serveTopics(w.serve(w.server(), streams, handlers), streamKinds)
			conn := w.conn()
			for _, client := range shapes {
				forEachMethod(streamKinds, func(_, method string, topic []string) {
					answers, err := client.opener(t, conn, fullName(streams, method), topic)(t.Context(), messages...)
					require.NoError(t, err, "client %s, method %s", client.name, method)
					require.Len(t, answers, len(messages))
					for i, answer := range answers {
						requireEqual(t, acknowledgement(messages[i]), answer, client.name, method)
					}
				})
			}
		})
	}
}

// testMatrixSubscriptions is like testMatrixCalls, but checks subscriptions. An update published
// for a MULTI method must reach both subscribers, and an update published for a queue method must
// reach exactly one of them.
func testMatrixSubscriptions(t *testing.T, network Network) {
	for _, subscriber := range shapes {
		t.Run("subscriber="+subscriber.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network)
			publisher := w.serve(w.server(), feeds, nil)
			one, two := w.conn(), w.conn()
			forEachMethod(feedKinds, func(kind, method string, topic []string) {
				first := subscriber.subscribe(t, one, fullName(feeds, method), topic)
				second := subscriber.subscribe(t, two, fullName(feeds, method), topic)
				for i, update := range publishedShapes(t) {
					opts := []dynamic.RequestOption{}
					if topic != nil {
						opts = append(opts, dynamic.WithTopic(topic...))
					}
					require.NoError(t, publisher.Publish(t.Context(), method, update, opts...))
					want := publishedUpdate()
					if kind == kindMulti {
						requireUpdate(t, want, soon(t, first, method))
						requireUpdate(t, want, soon(t, second, method))
						continue
					}
					select {
					case came := <-first:
						requireUpdate(t, want, came)
					case came := <-second:
						requireUpdate(t, want, came)
					case <-time.After(patience):
						require.FailNow(t, "the update did not come", method)
					}
					assert.Empty(t, first, "update %d came twice", i)
					assert.Empty(t, second, "update %d came twice", i)
				}
			})
		})
	}
}

func publishedUpdate() *api.MyUpdate {
	return &api.MyUpdate{Id: "update", State: api.MyUpdate_STATE_DONE, Labels: map[string]string{"key": "value"}}
}

// publishedShapes returns the result of publishedUpdate both as a generated message and as a
// dynamic message.
func publishedShapes(t testing.TB) []proto.Message {
	t.Helper()
	converted, err := as[proto.Message](publishedUpdate())
	require.NoError(t, err)
	return []proto.Message{publishedUpdate(), converted}
}

func requireUpdate(t testing.TB, want *api.MyUpdate, came received) {
	t.Helper()
	require.NoError(t, came.err)
	requireEqual(t, want, came.update)
}

// testMatrixInvoke is like the other matrix tests, but uses functions such as dynamic.Invoke, which
// need no client. It passes requests as messages, as JSON and as maps.
func testMatrixInvoke(t *testing.T, network Network) {
	w := newWorld(t, network)
	server := w.server()
	generated := shapes[0]
	handlers, streamHandlers := dynamic.Handlers{}, dynamic.Handlers{}
	forEachMethod(callKinds, func(_, method string, _ []string) { handlers[method] = generated.unary() })
	forEachMethod(streamKinds, func(_, method string, _ []string) { streamHandlers[method] = generated.stream() })
	w.serveTopics(w.serve(server, calls, handlers), callKinds)
	w.serveTopics(w.serve(server, streams, streamHandlers), streamKinds)
	w.serve(server, feeds, nil)
	conn := w.conn()
	requests := []any{
		sample("Ada"),
		json.RawMessage(`{"name": "Ada", "count": "-41", "tags": ["a", "b", "a"], "address": {"region": "eu", "host": "client"}}`),
		map[string]any{
			"name": "Ada", "count": -41, "tags": []string{"a", "b", "a"},
			"address": map[string]any{"region": "eu", "host": "client"},
		},
	}
	// The responses are read only after all calls have started, so that the calls run concurrently.
	var multi []<-chan *dynamic.Response[proto.Message]
	forEachMethod(callKinds, func(kind, method string, topic []string) {
		for _, request := range requests {
			if kind == kindMulti {
				responses, err := dynamic.InvokeMulti(t.Context(), conn, fullName(calls, method), request, dynamic.WithTopic(topic...))
				require.NoError(t, err, method)
				multi = append(multi, responses)
				continue
			}
			response, err := dynamic.Invoke(t.Context(), conn, fullName(calls, method), request, dynamic.WithTopic(topic...))
			require.NoError(t, err, method)
			requireEqual(t, respond(sample("Ada")), response, method)
		}
	})
	for _, responses := range multi {
		response := soon(t, responses, kindMulti)
		require.NotNil(t, response)
		require.NoError(t, response.Err)
		ended(t, responses, "there is one server")
		requireEqual(t, respond(sample("Ada")), response.Result)
	}
	forEachMethod(streamKinds, func(_, method string, topic []string) {
		stream, err := dynamic.InvokeStream(t.Context(), conn, fullName(streams, method), dynamic.WithTopic(topic...))
		require.NoError(t, err, method)
		require.NoError(t, stream.Send(json.RawMessage(`{"sequence": "7", "payload": "b25l"}`)))
		requireEqual(t, &api.MyServerMessage{Acknowledged: 7, Text: "one"}, soon(t, stream.Channel(), method))
		require.NoError(t, stream.Close(nil))
	})
	forEachMethod(feedKinds, func(_, method string, topic []string) {
		address := dynamic.WithTopic(topic...)
		subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, fullName(feeds, method), address)
		require.NoError(t, err, method)
		update := json.RawMessage(`{"id": "update", "state": "STATE_DONE", "labels": {"key": "value"}}`)
		require.NoError(t, dynamic.Publish(t.Context(), conn, fullName(feeds, method), update, address))
		requireEqual(t, publishedUpdate(), soon(t, subscription.Channel(), method))
		require.NoError(t, subscription.Close())
	})
}
