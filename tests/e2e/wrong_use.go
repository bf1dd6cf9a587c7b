package e2e

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// testWrongUse checks that wrong types, kinds, topics and handlers are rejected before anything is
// sent, and that the server and the client still work afterwards.
func testWrongUse(t *testing.T, network Network) {
	w := newWorld(t, network)
	server, conn := w.server(), w.defaultConn()
	registrations := serveAll(w, server)
	t.Run("Types", func(t *testing.T) { testWrongTypes(t, w, conn, registrations) })
	t.Run("Kinds", func(t *testing.T) { testWrongKinds(t, conn) })
	t.Run("Topics", func(t *testing.T) { testWrongTopics(t, conn, registrations) })
	t.Run("Handlers", func(t *testing.T) { testWrongHandlers(t, w) })
	requireWorking(t, conn)
	assert.Zero(t, server.Stats())
}

// serveAll serves all methods of Calls, Streams and Feeds. It returns the registrations, keyed by
// service name.
func serveAll(w *world, server *dynamic.Server) map[string]*dynamic.Registration {
	w.Helper()
	handlers, streamHandlers := dynamic.Handlers{}, dynamic.Handlers{}
	forEachMethod(callKinds, func(_, method string, _ []string) { handlers[method] = shapes[0].unary() })
	forEachMethod(streamKinds, func(_, method string, _ []string) { streamHandlers[method] = shapes[0].stream() })
	return map[string]*dynamic.Registration{
		calls:   w.serve(server, calls, handlers),
		streams: w.serve(server, streams, streamHandlers),
		feeds:   w.serve(server, feeds, nil),
	}
}

// requireWorking requires that a call, a stream and an update of every kind succeed.
func requireWorking(t testing.TB, conn *dynamic.Conn) {
	t.Helper()
	for _, kind := range callKinds {
		response, err := newGeneratedCall(t, conn, kind)(context.Background(), sample(kind), dynamic.WithExpectedResponses(1))
		require.NoError(t, err, kind)
		requireEqual(t, respond(sample(kind)), response)
	}
	for _, kind := range streamKinds {
		open := newExchange[*api.MyClientMessage, *api.MyServerMessage](t, conn, fullName(streams, kind), nil)
		_, err := open(context.Background(), &api.MyClientMessage{Sequence: 1}, &api.MyClientMessage{Sequence: 2})
		require.NoError(t, err, kind)
	}
	for _, kind := range feedKinds {
		subscription, err := dynamic.InvokeSubscribe(context.Background(), conn, fullName(feeds, kind))
		require.NoError(t, err)
		require.NoError(t, dynamic.Publish(context.Background(), conn, fullName(feeds, kind), publishedUpdate()))
		requireEqual(t, publishedUpdate(), soon(t, subscription.Channel(), kind))
		require.NoError(t, subscription.Close())
	}
}

func testWrongTypes(t *testing.T, w *world, conn *dynamic.Conn, registrations map[string]*dynamic.Registration) {
	for service, kinds := range map[string][]string{calls: callKinds, streams: streamKinds, feeds: feedKinds} {
		for _, kind := range kinds {
			_, err := dynamic.NewClient[*api.Address, *api.Address](conn, fullName(service, kind))
			requireCode(t, errors.InvalidArgument, err)
		}
	}
	_, err := dynamic.NewClient[*api.MyRequest, *api.MyResponse](conn, fullName(calls, "Missing"))
	requireCode(t, errors.Unimplemented, err)

	for _, kind := range singleKinds {
		for _, request := range []any{&api.Address{}, json.RawMessage(`{"nam": 1}`), map[string]any{"count": "x"}, 7} {
			_, err := dynamic.Invoke(t.Context(), conn, fullName(calls, kind), request)
			requireCode(t, errors.InvalidArgument, err)
		}
	}
	_, err = dynamic.InvokeMulti(t.Context(), conn, fullName(calls, kindMulti), &api.Address{})
	requireCode(t, errors.InvalidArgument, err)
	stream, err := dynamic.InvokeStream(t.Context(), conn, fullName(streams, kindQueue))
	require.NoError(t, err)
	requireCode(t, errors.InvalidArgument, stream.Send(&api.Address{}))
	require.NoError(t, stream.Err(), "the stream stays open")
	require.NoError(t, stream.Close(nil))
	requireCode(t, errors.InvalidArgument, registrations[feeds].Publish(t.Context(), kindMulti, &api.Address{}))
	requireCode(t, errors.InvalidArgument, dynamic.Publish(t.Context(), conn, fullName(feeds, kindMulti), &api.Address{}))
}

// testWrongKinds calls a method of each kind through the functions for all other kinds, and checks
// that every attempt fails.
func testWrongKinds(t *testing.T, conn *dynamic.Conn) {
	names := map[string]string{
		"single": fullName(calls, kindQueue), "multi": fullName(calls, kindMulti),
		"stream": fullName(streams, kindQueue), "subscription": fullName(feeds, kindQueue),
	}
	use := map[string]func(name string) error{
		"single": func(name string) error {
			_, err := dynamic.Invoke(t.Context(), conn, name, nil)
			return err
		},
		"multi": func(name string) error {
			_, err := dynamic.InvokeMulti(t.Context(), conn, name, nil)
			return err
		},
		"stream": func(name string) error {
			_, err := dynamic.InvokeStream(t.Context(), conn, name)
			return err
		},
		"subscription": func(name string) error {
			_, err := dynamic.InvokeSubscribe(t.Context(), conn, name)
			return err
		},
	}
	for kind, name := range names {
		for as, use := range use {
			if as != kind {
				requireCode(t, errors.InvalidArgument, use(name))
			}
		}
		if kind != "subscription" {
			requireCode(t, errors.InvalidArgument, dynamic.Publish(t.Context(), conn, name, nil))
		}
	}
}

// testWrongTopics checks that topics with too many or too few parts are rejected by clients and
// servers.
func testWrongTopics(t *testing.T, conn *dynamic.Conn, registrations map[string]*dynamic.Registration) {
	for _, address := range addressings {
		for _, topic := range [][]string{nil, {"a"}, {"a", "b"}, {"a", "b", "c"}} {
			if len(topic) == len(address.topic) {
				continue
			}
			option := dynamic.WithTopic(topic...)
			for _, kind := range singleKinds {
				_, err := dynamic.Invoke(t.Context(), conn, fullName(calls, kind+address.suffix), nil, option)
				requireCode(t, errors.InvalidArgument, err)
				requireCode(t, errors.InvalidArgument, registrations[calls].RegisterTopic(kind+address.suffix, topic...))
			}
			_, err := dynamic.InvokeMulti(t.Context(), conn, fullName(calls, kindMulti+address.suffix), nil, option)
			requireCode(t, errors.InvalidArgument, err)
			for _, kind := range streamKinds {
				_, err := dynamic.InvokeStream(t.Context(), conn, fullName(streams, kind+address.suffix), option)
				requireCode(t, errors.InvalidArgument, err)
				requireCode(t, errors.InvalidArgument, registrations[streams].RegisterTopic(kind+address.suffix, topic...))
			}
			for _, kind := range feedKinds {
				_, err := dynamic.InvokeSubscribe(t.Context(), conn, fullName(feeds, kind+address.suffix), option)
				requireCode(t, errors.InvalidArgument, err)
				err = registrations[feeds].Publish(t.Context(), kind+address.suffix, publishedUpdate(), option)
				requireCode(t, errors.InvalidArgument, err)
			}
		}
	}
}

// testWrongHandlers checks that registrations with invalid handlers fail, and that the error names
// the method.
func testWrongHandlers(t *testing.T, w *world) {
	other := dynamic.Unary(func(_ context.Context, request *api.Address) (*api.Address, error) { return request, nil })
	otherStream := dynamic.Stream(func(dynamic.ServerStream[*api.MyClientMessage, *api.MyServerMessage]) error { return nil })
	server := w.server()
	for _, tt := range []struct {
		service string
		kinds   []string
		wrong   []dynamic.Handler
	}{
		{calls, callKinds, []dynamic.Handler{other, shapes[0].stream(), nil}},
		{streams, streamKinds, []dynamic.Handler{otherStream, shapes[0].unary(), nil}},
		{feeds, feedKinds, []dynamic.Handler{shapes[0].unary(), shapes[0].stream(), nil}},
	} {
		for _, kind := range tt.kinds {
			for _, handler := range tt.wrong {
				_, err := w.register(server, tt.service, dynamic.Handlers{kind: handler})
				requireCode(t, errors.InvalidArgument, err)
				require.ErrorContains(t, err, kind)
			}
		}
		_, err := w.register(server, tt.service, dynamic.Handlers{"Missing": shapes[0].unary()})
		requireCode(t, errors.InvalidArgument, err)
	}
}
