package kinds

import (
	"context"
	_ "embed" // embeds kinds.proto
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// These are the full names of the service's methods. All methods take and return a [Text].
const (
	One    = "kinds.All/One"
	Region = "kinds.All/Region" // the only method with topics; New registers the topic "eu" for it
	Every  = "kinds.All/Every"
	Flow   = "kinds.All/Flow"
	Feed   = "kinds.All/Feed"
)

//go:embed kinds.proto
var source []byte

// Registry returns a new registry that contains the service. The messages of the service have the
// generated type [Text].
func Registry() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(fstest.MapFS{"kinds.proto": {Data: source}}, "kinds.proto")
}

// World holds a server and a [dynamic.Conn] that are connected by an in-process bus.
type World struct {
	Bus      bus.Bus
	Registry *registry.Registry
	Server   *dynamic.Server
	Service  *dynamic.Registration
	Conn     *dynamic.Conn
}

// patience is the longest time for which tests wait for an event that must happen. It is long, so
// that tests pass on a slow machine.
const patience = 20 * time.Second

// patient sets the default timeouts of a conn to patience.
var patient = dynamic.ConnOptions(dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience))

// New returns a World. server and conn are options for its server and its conn. By default, calls
// have a timeout of 20 seconds. The World is closed when the test ends. Its handlers fail with
// [errors.NotFound] if the value of a message is "fail", and panic if the value is "panic". They
// return every other message unchanged.
func New(t testing.TB, server dynamic.ServiceOption, conn dynamic.ConnOption) *World {
	t.Helper()
	reg, err := Registry()
	require.NoError(t, err)
	f := dynamictest.New(t, Descriptor(t, reg), Handlers(), dynamictest.WithRegistry(reg),
		dynamictest.WithServerOptions(dynamic.WithServerID("SRV_all"), dynamic.WithServerTimeout(patience), server),
		dynamictest.WithConnOptions(dynamic.WithClientID("CLI_all"), patient, conn))
	require.NoError(t, f.Registration.RegisterTopic("Region", "eu"))
	return &World{Bus: f.Bus, Registry: reg, Server: f.Server, Service: f.Registration, Conn: f.Conn}
}

// NewConn returns another conn on the bus of w. The conn is closed when the test ends.
func NewConn(t testing.TB, w *World, opts ...dynamic.ConnOption) *dynamic.Conn {
	t.Helper()
	conn, err := dynamic.NewConn(w.Bus, w.Registry, append([]dynamic.ConnOption{patient}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// Descriptor returns the service kinds.All, which must be in reg.
func Descriptor(t testing.TB, reg *registry.Registry) *registry.Service {
	t.Helper()
	service, ok := reg.Service("kinds.All")
	require.True(t, ok)
	return service
}

// Handlers returns the handlers of the service.
func Handlers() dynamic.Handlers {
	return dynamic.Handlers{
		"One": dynamic.Unary(answer), "Region": dynamic.Unary(answer), "Every": dynamic.Unary(answer), "Flow": dynamic.Stream(echo),
	}
}

func answer(_ context.Context, request *Text) (*Text, error) {
	switch request.GetValue() {
	case "fail":
		return nil, errors.NewErrorf(errors.NotFound, "no such thing")
	case "panic":
		panic("secret")
	}
	return request, nil
}

func echo(stream dynamic.ServerStream[*Text, *Text]) error {
	for message := range stream.Channel() {
		response, err := answer(stream.Context(), message)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return nil
}

// Call makes a single call to the given method, with messages of the generated type.
func (w *World) Call(ctx context.Context, method, value string, opts ...dynamic.RequestOption) (*Text, error) {
	client, err := dynamic.NewClient[*Text, *Text](w.Conn, method)
	if err != nil {
		return nil, err
	}
	return client.Call(ctx, &Text{Value: value}, opts...)
}

// CallEvery makes a multi call to the method Every. It waits until the call has ended and returns
// all responses.
func (w *World) CallEvery(ctx context.Context, value string) ([]*dynamic.Response[*Text], error) {
	client, err := dynamic.NewClient[*Text, *Text](w.Conn, Every)
	if err != nil {
		return nil, err
	}
	received, err := client.CallMulti(ctx, &Text{Value: value})
	if err != nil {
		return nil, err
	}
	var responses []*dynamic.Response[*Text]
	for response := range received {
		responses = append(responses, response)
	}
	return responses, nil
}

// Open opens a stream on the method Flow.
func (w *World) Open(ctx context.Context, t testing.TB) dynamic.ClientStream[*Text, *Text] {
	t.Helper()
	client, err := dynamic.NewClient[*Text, *Text](w.Conn, Flow)
	require.NoError(t, err)
	stream, err := client.OpenStream(ctx)
	require.NoError(t, err)
	return stream
}

// Exchange sends each of the values in a message on stream. After each message, it waits until the
// server has sent the message back. It fails the test if that does not happen.
func Exchange(t testing.TB, stream dynamic.ClientStream[*Text, *Text], values ...string) {
	t.Helper()
	for _, value := range values {
		require.NoError(t, stream.Send(&Text{Value: value}))
		require.Equal(t, value, Soon(t, stream.Channel()).GetValue())
	}
}

// Subscribe subscribes to the method Feed.
func (w *World) Subscribe(ctx context.Context, t testing.TB) dynamic.Subscription[*Text] {
	t.Helper()
	client, err := dynamic.NewClient[*Text, *Text](w.Conn, Feed)
	require.NoError(t, err)
	subscription, err := client.Subscribe(ctx)
	require.NoError(t, err)
	return subscription
}

// Soon returns the next value received from channel, or the zero value if channel is closed. It
// fails the test if nothing is received within 20 seconds.
func Soon[T any](t testing.TB, channel <-chan T) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("not reached")
	}
}
