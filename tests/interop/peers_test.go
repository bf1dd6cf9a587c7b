package interop

import (
	"context"
	_ "embed"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/livekit/psrpc"
	psrpcbus "github.com/livekit/psrpc/pkg/bus"
	psrpcnats "github.com/livekit/psrpc/pkg/bus/natsbus"
	psrpcredis "github.com/livekit/psrpc/pkg/bus/redisbus"
	"github.com/livekit/psrpc/pkg/client"
	"github.com/livekit/psrpc/pkg/info"
	"github.com/livekit/psrpc/pkg/rand"
	"github.com/livekit/psrpc/pkg/server"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	serviceName = "interop.Peer"
	room        = "room"
	patience    = 20 * time.Second
)

type text = *wrapperspb.StringValue

// work handles a request on a server and returns the response.
type work func(request string) string

// serverPeer is a server that serves all methods of the service.
type serverPeer interface {
	publish(t *testing.T, update string)
}

// clientPeer is a client that can call all methods of the service.
type clientPeer interface {
	call(method string, topic []string, request string) (string, error)
	every(t *testing.T, request string) (responses []string)
	flow(t *testing.T, requests []string) (responses []string)
	feed(t *testing.T) (updates <-chan string)
}

// library creates servers and clients of either psrpc or dynpsrpc. Each server and each client has
// its own connection.
type library struct {
	name   string
	server func(t *testing.T, b broker, affinity float32, work work) serverPeer
	client func(t *testing.T, b broker) clientPeer
}

var (
	ours   = library{name: "dynpsrpc", server: newOurServer, client: newOurClient}
	theirs = library{name: "psrpc", server: newRealServer, client: newRealClient}
)

// broker creates connections to a broker. The function ours creates them for dynpsrpc, and real for
// psrpc.
type broker struct {
	ours func(t *testing.T) bus.Bus
	real func(t *testing.T) psrpcbus.MessageBus
}

func redisBroker(t *testing.T) broker {
	t.Helper()
	server := testenv.Redis(t)
	newClient := func(t *testing.T) *redis.Client {
		t.Helper()
		c := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	return broker{
		ours: func(t *testing.T) bus.Bus {
			t.Helper()
			b, err := redisbus.New(newClient(t))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			return b
		},
		real: func(t *testing.T) psrpcbus.MessageBus { t.Helper(); return psrpcredis.New(newClient(t)) },
	}
}

func natsBroker(t *testing.T) broker {
	t.Helper()
	server := testenv.NATS(t)
	connect := func(t *testing.T) *nats.Conn {
		t.Helper()
		nc, err := nats.Connect(server.URL(), natsbus.ConnOptions()...)
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	return broker{
		ours: func(t *testing.T) bus.Bus {
			t.Helper()
			b, err := natsbus.New(connect(t))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			return b
		},
		real: func(t *testing.T) psrpcbus.MessageBus { t.Helper(); return psrpcnats.New(connect(t)) },
	}
}

//go:embed interop.proto
var source []byte

func newRegistry(t *testing.T) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"interop.proto": {Data: source}}, "interop.proto"))
	return reg
}

type ourServer struct{ *dynamic.Registration }

func newOurServer(t *testing.T, b broker, affinity float32, work work) serverPeer {
	t.Helper()
	service, ok := newRegistry(t).Service(serviceName)
	require.True(t, ok)
	unary := func(_ context.Context, request text) (text, error) {
		return wrapperspb.String(work(request.GetValue())), nil
	}
	s := dynamic.NewServer(b.ours(t), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	registration, err := s.Register(service, dynamic.Handlers{
		"Queue": dynamic.Unary(unary), "Every": dynamic.Unary(unary), "Only": dynamic.Unary(unary),
		"Best": dynamic.Unary(unary, dynamic.WithAffinity(func(context.Context, text) float32 { return affinity })),
		"Flow": dynamic.Stream(func(stream dynamic.ServerStream[text, text]) error {
			for request := range stream.Channel() {
				if err := stream.Send(wrapperspb.String(work(request.GetValue()))); err != nil {
					return err
				}
			}
			return nil
		}),
	})
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("Only", room))
	t.Cleanup(s.Kill)
	return ourServer{registration}
}

func (s ourServer) publish(t *testing.T, update string) {
	t.Helper()
	require.NoError(t, s.Publish(t.Context(), "Feed", wrapperspb.String(update)))
}

type ourClient struct{ conn *dynamic.Conn }

func newOurClient(t *testing.T, b broker) clientPeer {
	t.Helper()
	conn, err := dynamic.NewConn(b.ours(t), newRegistry(t), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return ourClient{conn}
}

func (c ourClient) method(name string) *dynamic.Client[text, text] {
	method, err := dynamic.NewClient[text, text](c.conn, serviceName+"/"+name)
	if err != nil {
		panic(err)
	}
	return method
}

func (c ourClient) call(method string, topic []string, request string) (string, error) {
	m := c.method(method)
	if topic != nil {
		m = m.Topic(topic...)
	}
	response, err := m.Call(context.Background(), wrapperspb.String(request))
	return response.GetValue(), err
}

func (c ourClient) every(t *testing.T, request string) (responses []string) {
	t.Helper()
	results, err := c.method("Every").CallMulti(t.Context(), wrapperspb.String(request), dynamic.WithRequestTimeout(time.Second))
	require.NoError(t, err)
	for result := range results {
		require.NoError(t, result.Err)
		responses = append(responses, result.Result.GetValue())
	}
	return responses
}

func (c ourClient) flow(t *testing.T, requests []string) []string {
	t.Helper()
	stream, err := c.method("Flow").OpenStream(t.Context())
	require.NoError(t, err)
	send := func(request string) error { return stream.Send(wrapperspb.String(request)) }
	return exchange(t, requests, send, stream.Channel(), stream.Close)
}

// exchange sends each request on a stream and waits for its response. It then closes the stream.
func exchange(t *testing.T, requests []string, send func(string) error, from <-chan text, closeStream func(error) error) []string {
	t.Helper()
	var responses []string
	for _, request := range requests {
		require.NoError(t, send(request))
		select {
		case response := <-from:
			responses = append(responses, response.GetValue())
		case <-time.After(patience):
			require.FailNow(t, "no response on the stream")
		}
	}
	require.NoError(t, closeStream(nil))
	return responses
}

func (c ourClient) feed(t *testing.T) <-chan string {
	t.Helper()
	subscription, err := c.method("Feed").Subscribe(t.Context())
	require.NoError(t, err)
	return values(subscription.Channel())
}

// values returns a channel that receives the text of each update.
func values(updates <-chan text) <-chan string {
	out := make(chan string, 1000)
	go func() {
		for update := range updates {
			out <- update.GetValue()
		}
	}()
	return out
}

// definition returns the same description of the service that psrpc's generated code would contain.
func definition(id string) *info.ServiceDefinition {
	d := &info.ServiceDefinition{Name: "Peer", ID: id}
	d.RegisterMethod("Queue", false, false, true, true)
	d.RegisterMethod("Best", true, false, true, false)
	d.RegisterMethod("Every", false, true, false, false)
	d.RegisterMethod("Only", false, false, false, true)
	d.RegisterMethod("Flow", false, false, true, true)
	d.RegisterMethod("Feed", false, true, false, false)
	return d
}

type realServer struct{ *server.RPCServer }

func newRealServer(t *testing.T, b broker, affinity float32, work work) serverPeer {
	t.Helper()
	s := server.NewRPCServer(definition(rand.NewServerID()), b.real(t))
	unary := func(_ context.Context, request text) (text, error) {
		return wrapperspb.String(work(request.GetValue())), nil
	}
	require.NoError(t, server.RegisterHandler(s, "Queue", nil, unary, nil))
	require.NoError(t, server.RegisterHandler(s, "Best", nil, unary, func(context.Context, text) float32 { return affinity }))
	require.NoError(t, server.RegisterHandler(s, "Every", nil, unary, nil))
	require.NoError(t, server.RegisterHandler(s, "Only", []string{room}, unary, nil))
	require.NoError(t, server.RegisterStreamHandler(s, "Flow", nil, func(stream psrpc.ServerStream[text, text]) error {
		for request := range stream.Channel() {
			if err := stream.Send(wrapperspb.String(work(request.GetValue()))); err != nil {
				return err
			}
		}
		return nil
	}, nil))
	t.Cleanup(func() { s.Close(true) })
	settle()
	return realServer{s}
}

// settle waits until the broker has most likely confirmed psrpc's subscriptions. psrpc does not
// report the confirmation.
func settle() { <-time.After(200 * time.Millisecond) }

func (s realServer) publish(t *testing.T, update string) {
	t.Helper()
	require.NoError(t, s.Publish(t.Context(), "Feed", nil, wrapperspb.String(update)))
}

type realClient struct{ *client.RPCClient }

func newRealClient(t *testing.T, b broker) clientPeer {
	t.Helper()
	c, err := client.NewRPCClientWithStreams(definition(rand.NewClientID()), b.real(t))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	settle()
	return realClient{c}
}

func (c realClient) call(method string, topic []string, request string) (string, error) {
	response, err := client.RequestSingle[text](context.Background(), c.RPCClient, method, topic, wrapperspb.String(request))
	return response.GetValue(), err
}

func (c realClient) every(t *testing.T, request string) (responses []string) {
	t.Helper()
	results, err := client.RequestMulti[text](t.Context(), c.RPCClient, "Every", nil, wrapperspb.String(request),
		psrpc.WithRequestTimeout(time.Second))
	require.NoError(t, err)
	for result := range results {
		require.NoError(t, result.Err)
		responses = append(responses, result.Result.GetValue())
	}
	return responses
}

func (c realClient) flow(t *testing.T, requests []string) []string {
	t.Helper()
	stream, err := client.OpenStream[text, text](t.Context(), c.RPCClient, "Flow", nil)
	require.NoError(t, err)
	send := func(request string) error { return stream.Send(wrapperspb.String(request)) }
	return exchange(t, requests, send, stream.Channel(), stream.Close)
}

func (c realClient) feed(t *testing.T) <-chan string {
	t.Helper()
	subscription, err := client.Join[text](t.Context(), c.RPCClient, "Feed", nil)
	require.NoError(t, err)
	settle()
	return values(subscription.Channel())
}
