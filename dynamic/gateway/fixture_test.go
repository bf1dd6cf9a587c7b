package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = `
syntax = "proto3";
package shop;
import "options.proto";

// An item of the shop.
message Item { string name = 1; int32 count = 2; }

// Shop has one method of every kind.
service Shop {
  // Get returns an item.
  rpc Get(Item) returns (Item);
  rpc Look(Item) returns (Item) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Everyone(Item) returns (Item) { option (psrpc.options).type = MULTI; }
  rpc Talk(Item) returns (Item) { option (psrpc.options).stream = true; }
  rpc News(Item) returns (Item) { option (psrpc.options) = { subscription: true type: MULTI }; }
  rpc InRoom(Item) returns (Item) {
    option (psrpc.options) = { topics: true topic_params: { names: "floor" names: "room" } };
  }
  rpc Hidden(Item) returns (Item);
}
`

type item = *dynamicpb.Message

// patience is a timeout that no test reaches, however busy the machine is.
const patience = 30 * time.Second

// patient sets timeouts that do not end the calls of a test, however busy the machine is.
var patient = dynamic.ConnOptions(dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience))

// fixture is a shop on an in-process bus behind a gateway.
type fixture struct {
	bus      *bus.Local
	registry *registry.Registry
	service  *registry.Service
	shops    []*dynamic.Registration
	server   *httptest.Server
	// waiting is the number of handlers that are waiting because the request is the item "wait".
	waiting atomic.Int32
	// panics counts the panics of the gateway. The HTTP server recovers and only logs them.
	panics atomic.Int32
}

func parse(t testing.TB, source string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	return reg
}

// newFixture starts two servers of the shop and a gateway that serves all of its methods but
// Hidden.
func newFixture(t testing.TB, opts ...gateway.Option) *fixture {
	t.Helper()
	f := &fixture{bus: bus.NewLocal(), registry: parse(t, source)}
	f.service, _ = f.registry.Service("shop.Shop")
	for _, id := range []string{"SRV_one", "SRV_two"} {
		server := dynamic.NewServer(f.bus, dynamic.WithServerID(id))
		t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
		shop, err := server.Register(f.service, f.handlers(id))
		require.NoError(t, err)
		require.NoError(t, shop.RegisterTopic("InRoom", "1", "a/b"))
		f.shops = append(f.shops, shop)
	}
	conn, err := dynamic.NewConn(f.bus, f.registry, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	visible := gateway.WithMethods("shop.Shop/[^H]*")
	f.listen(t, conn, f.registry, append([]gateway.Option{visible}, opts...)...)
	return f
}

// listen starts an HTTP server with a gateway.
func (f *fixture) listen(t testing.TB, conn *dynamic.Conn, reg *registry.Registry, opts ...gateway.Option) {
	t.Helper()
	gw, err := gateway.New(conn, reg, opts...)
	require.NoError(t, err)
	f.server = httptest.NewUnstartedServer(nil)
	f.server.Config = gateway.Server(f.countPanics(gw))
	// Limit the write buffer. By default, the operating system buffers some 30,000 small responses
	// for a client that does not read.
	f.server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if tcp, ok := conn.(*net.TCPConn); ok && state == http.StateNew {
			_ = tcp.SetWriteBuffer(64 << 10)
		}
	}
	f.server.Start()
	t.Cleanup(func() {
		f.server.Close()
		require.Zero(t, f.panics.Load())
	})
}

func (f *fixture) countPanics(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		completed := false
		defer func() {
			if !completed {
				f.panics.Add(1)
			}
		}()
		handler.ServeHTTP(w, r)
		completed = true
	})
}

// handlers returns handlers that return their requests. If the name of the requested item begins
// with "fail", they return an error with the code that follows in the name. A few other names have
// special effects, too.
func (f *fixture) handlers(id string) dynamic.Handlers {
	get := dynamic.Unary(func(ctx context.Context, request item) (item, error) {
		switch name := nameOf(request); {
		case strings.HasPrefix(name, "fail "):
			return nil, errors.NewErrorf(errors.ErrorCode(name[5:]), "no %s here", name)
		case strings.HasPrefix(name, "only ") && name[5:] != id:
			return nil, errors.NewErrorf(errors.NotFound, "%s is not %s", id, name[5:])
		case name == "metadata":
			info, _ := dynamic.RequestInfoFromContext(ctx)
			return f.item(fmt.Sprint(info.Metadata)), nil
		case name == "wait":
			f.waiting.Add(1)
			defer f.waiting.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		case strings.HasPrefix(name, "size "):
			size, err := strconv.Atoi(name[5:])
			return f.item(strings.Repeat("x", size)), err
		}
		return request, nil
	})
	return dynamic.Handlers{
		"Get": get, "Look": get, "Everyone": get, "InRoom": get, "Hidden": get,
		"Talk": dynamic.Stream(func(stream dynamic.ServerStream[item, item]) error {
			for message := range stream.Channel() {
				if nameOf(message) == "bye" {
					return nil
				}
				if err := stream.Send(f.item(id + " heard " + nameOf(message))); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (f *fixture) item(name string) item {
	descriptor := f.service.Descriptor().Methods().ByName("Get").Input()
	message := dynamicpb.NewMessage(descriptor)
	message.Set(descriptor.Fields().ByName("name"), protoreflect.ValueOfString(name))
	return message
}

func nameOf(message item) string {
	return message.Get(message.Descriptor().Fields().ByName("name")).String()
}

// response is the response to an HTTP request.
type response struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// post sends a POST request. Each header is of the form "Name: value".
func (f *fixture) post(t testing.TB, path, body string, headers ...string) response {
	t.Helper()
	return f.do(t, http.MethodPost, path, body, append([]string{"Content-Type: application/json"}, headers...)...)
}

func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	r, err := f.server.Client().Do(request)
	require.NoError(t, err)
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return response{status: r.StatusCode, header: r.Header, trailer: r.Trailer, body: string(content)}
}

// running returns the number of requests that wait for their contexts to end.
func (f *fixture) running() int { return int(f.waiting.Load()) }

// startCall starts a call whose handler runs until the call is canceled. The client that made the
// call goes away when goAway is called.
func (f *fixture) startCall(t *testing.T) (goAway func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.server.URL+"/shop.Shop/Get", strings.NewReader(`{"name": "wait"}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r, err := f.server.Client().Do(request); err == nil {
			_ = r.Body.Close()
		}
	}()
	require.Eventually(t, func() bool { return f.running() == 1 }, patience, time.Millisecond)
	return func() {
		cancel()
		<-done
	}
}
