package explorer

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const testToken = "a token of a test"

const shopSource = `
syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/any.proto";

// An item of the shop.
message Item {
  // Its name.
  string name = 1;
  repeated Item parts = 2;
  map<string, Size> sizes = 3;
  oneof price { int64 cents = 4; string free = 5; }
  optional bool sold = 6;
  string secret = 7 [debug_redact = true];
  google.protobuf.Any extra = 8;
}
enum Size { SMALL = 0; LARGE = 1; }
message Unused { bytes data = 1; }

// Shop sells items.
service Shop {
  // Get returns an item.
  rpc Get(Item) returns (Item);
  rpc Look(Item) returns (Item) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Best(Item) returns (Item) { option (psrpc.options).type = AFFINITY; }
  rpc Talk(Item) returns (Item) { option (psrpc.options).stream = true; }
  rpc News(Item) returns (Item) { option (psrpc.options) = { subscription: true type: MULTI }; }
  rpc InRoom(Item) returns (Item) { option (psrpc.options) = { topics: true topic_params: { names: "room" } }; }
}
`

type item = *dynamicpb.Message

// fixture is a shop with two servers on an in-process bus, behind an explorer.
type fixture struct {
	bus      *bus.Local
	servers  []*dynamic.Server
	shops    []*dynamic.Registration
	level    slog.LevelVar
	explorer *Explorer
	server   *httptest.Server
}

func parseShop(t testing.TB, source string) *registry.Service {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	service, err := reg.FindService("shop.Shop")
	require.NoError(t, err)
	return service
}

// newFixture starts two servers of the shop, which permit administration and taps, and an explorer.
func newFixture(t testing.TB, opts ...Option) *fixture {
	t.Helper()
	f := &fixture{bus: bus.NewLocal()}
	for _, id := range []string{"SRV_one", "SRV_two"} {
		f.serve(t, id, parseShop(t, shopSource))
	}
	require.NoError(t, f.shops[0].RegisterTopic("InRoom", "kitchen"))
	reg := registry.New()
	conn, err := dynamic.NewConn(f.bus, reg, dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	asked, err := fleet.New(conn)
	require.NoError(t, err)
	follower, err := asked.Follow(t.Context(), reg, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, follower.Close()) })
	gw, err := gateway.New(conn, reg, gateway.WithMethods("*/*"))
	require.NoError(t, err)
	patient := func(o *options) { o.answerWait = patience / 3 }
	opts = append([]Option{WithToken(testToken), WithRefresh(minRefresh), WithLogger(slog.New(slog.DiscardHandler)), patient}, opts...)
	f.explorer, err = New(asked, gw, opts...)
	require.NoError(t, err)
	f.server = httptest.NewServer(f.explorer)
	t.Cleanup(func() {
		require.NoError(t, f.explorer.Close())
		f.server.Close()
	})
	return f
}

// serve starts a server of the shop.
func (f *fixture) serve(t testing.TB, id string, service *registry.Service) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	server := dynamic.NewServer(f.bus, dynamic.WithServerID(id), dynamic.WithLogger(quiet))
	t.Cleanup(server.Kill)
	get := func(_ context.Context, request item) (item, error) {
		if name := request.Get(request.Descriptor().Fields().ByName("name")).String(); name == "fail" {
			return nil, errors.NewErrorf(errors.NotFound, "there is no such item")
		}
		return request, nil
	}
	affinity := func(context.Context, item) float32 {
		if id == "SRV_one" {
			return 0.5
		}
		return -1
	}
	shop, err := server.Register(service, dynamic.Handlers{
		"Get": dynamic.Unary(get), "Look": dynamic.Unary(get), "InRoom": dynamic.Unary(get),
		"Best": dynamic.Unary(get, dynamic.WithAffinity(affinity)),
		"Talk": dynamic.Stream(func(s dynamic.ServerStream[item, item]) error {
			<-s.Context().Done()
			return nil
		}),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = fleet.Serve(server,
		fleet.WithApp("shop", "1.2.3"), fleet.WithLabels(map[string]string{"region": "eu"}), fleet.WithErrorTexts(),
		fleet.WithAuthorize(func(context.Context, fleet.Verb) error { return nil }),
		fleet.WithTap(fleet.Filters(tapfilter.Compile)), fleet.WithAdmin(fleet.LogLevel(&f.level)))
	require.NoError(t, err)
	f.servers, f.shops = append(f.servers, server), append(f.shops, shop)
}

// response is a response of the explorer.
type response struct {
	status int
	header http.Header
	body   string
}

// decode decodes the JSON of a response.
func decode[T any](t testing.TB, r response) (value T) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.NoError(t, json.Unmarshal([]byte(r.body), &value), r.body)
	return value
}

// get sends a GET request with the token. Each header is of the form "Name: value".
func (f *fixture) get(t testing.TB, path string, headers ...string) response {
	t.Helper()
	return f.do(t, http.MethodGet, path, "", append([]string{"Authorization: Bearer " + testToken}, headers...)...)
}

// post sends a POST request as the pages do.
func (f *fixture) post(t testing.TB, path, body string, headers ...string) response {
	t.Helper()
	return f.do(t, http.MethodPost, path, body, append([]string{
		"Authorization: Bearer " + testToken, "Content-Type: application/json", "X-Psrpc-Explorer: 1",
	}, headers...)...)
}

func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) response {
	t.Helper()
	r := f.send(t, method, path, body, headers...)
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return response{status: r.StatusCode, header: r.Header, body: string(content)}
}

func (f *fixture) send(t testing.TB, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			request.Host = value
		}
		request.Header.Set(name, value)
	}
	r, err := f.server.Client().Do(request)
	require.NoError(t, err)
	return r
}

// eventReader reads server-sent events.
type eventReader struct {
	t     testing.TB
	lines *bufio.Scanner
}

// events opens an event stream, which ends with the test.
func (f *fixture) events(t testing.TB, path string) *eventReader {
	t.Helper()
	r := f.send(t, http.MethodGet, path, "", "Authorization: Bearer "+testToken)
	t.Cleanup(func() { r.Body.Close() })
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	reader := &eventReader{t: t, lines: lines}
	if !assert.Equal(t, http.StatusOK, r.StatusCode) {
		lines.Scan()
		require.Fail(t, "no event stream", lines.Text())
	}
	require.True(t, lines.Scan(), "the stream begins at once")
	return reader
}

// next returns the data of the next event with the given name. It skips other events.
func (r *eventReader) next(name string) []byte {
	r.t.Helper()
	wanted := false
	for r.lines.Scan() {
		switch line := r.lines.Text(); {
		case strings.HasPrefix(line, "event: "):
			wanted = line == "event: "+name
		case wanted && strings.HasPrefix(line, "data: "):
			return []byte(line[len("data: "):])
		}
	}
	require.Fail(r.t, "the stream has ended before the event "+name)
	return nil
}

// nextName returns the name of the next event.
func (r *eventReader) nextName() string {
	r.t.Helper()
	for r.lines.Scan() {
		if name, ok := strings.CutPrefix(r.lines.Text(), "event: "); ok {
			return name
		}
	}
	require.Fail(r.t, "the stream has ended")
	return ""
}

// call calls a method of the shop through the gateway, as a page does.
func (f *fixture) call(t testing.TB, method, body string) response {
	t.Helper()
	return f.post(t, "/rpc/shop.Shop/"+method, body)
}

// patience is a timeout that no test reaches, however busy the machine is.
const patience = 30 * time.Second
