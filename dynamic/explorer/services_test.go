package explorer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func methodOf(info serviceInfo, name string) *methodInfo {
	for _, method := range info.Methods {
		if method.Name == name {
			return method
		}
	}
	return &methodInfo{}
}

func TestService(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, name := range []string{"shop.Shop", "Shop"} {
		info := decode[serviceInfo](t, f.get(t, "/api/services/"+name))
		assert.Equal(t, "shop.Shop", info.Name)
		assert.Equal(t, "Shop sells items.", info.Comment)
		require.Len(t, info.Versions, 1)
		assert.Equal(t, []string{"SRV_one", "SRV_two"}, info.Versions[0].Servers)
		require.Len(t, info.Methods, 6)
		get := methodOf(info, "Get")
		assert.Equal(t, "Get returns an item.", get.Comment)
		assert.Equal(t, "shop.Item", get.Request)
		assert.True(t, get.Queue)
		assert.True(t, methodOf(info, "Look").Idempotent)
		assert.Equal(t, "stream", methodOf(info, "Talk").Kind)
		assert.Equal(t, "subscription", methodOf(info, "News").Kind)
		assert.Equal(t, "affinity", methodOf(info, "Best").Routing)
		room := methodOf(info, "InRoom")
		assert.Equal(t, []string{"room"}, room.TopicParams)
		assert.Equal(t, []string{"kitchen"}, room.TopicNames)
	}
	missing := f.get(t, "/api/services/shop.Shp")
	assert.Equal(t, http.StatusNotFound, missing.status)
	assert.Contains(t, missing.body, "shop.Shop")
}

// Two versions of a service must be shown side by side, with the differences from the older one.
func TestService_ComparesVersions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve(t, "SRV_new", parseShop(t, strings.Replace(shopSource, "string free = 5;", "bool free = 5;", 1)))
	info := decode[serviceInfo](t, f.get(t, "/api/services/shop.Shop"))
	require.Len(t, info.Versions, 2)
	assert.Empty(t, info.Versions[0].Differences)
	assert.Equal(t, []string{"SRV_new"}, info.Versions[1].Servers)
	assert.Equal(t, []string{"shop.Item.free is string in the old version and bool in the new one"}, info.Versions[1].Differences)
	assert.True(t, info.Versions[1].Breaking)
}

// If there are many versions, only the first ones are compared. The others must not look the same
// as the oldest one.
func TestService_ComparesFewVersions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range maxVersions {
		changed := strings.Replace(shopSource, "string free = 5;", fmt.Sprintf("string free_%d = 5;", i), 1)
		f.serve(t, fmt.Sprintf("SRV_%d", i), parseShop(t, changed))
	}
	versions := decode[serviceInfo](t, f.get(t, "/api/services/shop.Shop")).Versions
	require.Len(t, versions, maxVersions+1)
	assert.NotEmpty(t, versions[maxVersions-1].Differences)
	require.NotNil(t, versions[maxVersions].Problem)
	assert.Contains(t, versions[maxVersions].Problem.Message, "not compared")
}

func TestSchema(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var schema struct {
		Messages map[string]struct {
			Comment string           `json:"comment"`
			Fields  []map[string]any `json:"fields"`
		} `json:"messages"`
		Enums map[string][]any `json:"enums"`
	}
	require.NoError(t, json.Unmarshal([]byte(f.get(t, "/api/services/shop.Shop/schema").body), &schema))
	item := schema.Messages["shop.Item"]
	assert.Equal(t, "An item of the shop.", item.Comment)
	require.Len(t, item.Fields, 8)
	assert.Equal(t, map[string]any{"name": "name", "jsonName": "name", "number": 1.0, "type": "string", "comment": "Its name."}, item.Fields[0])
	assert.Equal(t, map[string]any{
		"name": "parts", "jsonName": "parts", "number": 2.0, "type": "message", "message": "shop.Item", "repeated": true,
	}, item.Fields[1])
	assert.Equal(t, map[string]any{
		"name": "sizes", "jsonName": "sizes", "number": 3.0, "type": "map",
		"map": map[string]any{"key": "string", "value": map[string]any{"type": "enum", "enum": "shop.Size"}},
	}, item.Fields[2])
	assert.Equal(t, "price", item.Fields[3]["oneof"])
	assert.Equal(t, true, item.Fields[5]["optional"])
	assert.Nil(t, item.Fields[5]["oneof"])
	assert.Equal(t, true, item.Fields[6]["redact"])
	assert.Len(t, schema.Enums["shop.Size"], 2)
	assert.Contains(t, schema.Messages, "shop.Unused", "an Any can contain it")
	assert.NotContains(t, schema.Messages, "shop.Item.SizesEntry")
}

func TestSchemaFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	source := f.get(t, "/api/services/shop.Shop/proto")
	assert.Contains(t, source.body, "rpc Get(Item) returns (Item)")
	assert.Contains(t, source.header.Get("Content-Disposition"), "shop.Shop.proto")
	var files descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal([]byte(f.get(t, "/api/services/shop.Shop/descriptors.binpb").body), &files))
	reg := registry.New()
	require.NoError(t, reg.RegisterDescriptorSet(&files))
	_, ok := reg.Service("shop.Shop")
	assert.True(t, ok)
}

func TestServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Equal(t, http.StatusOK, f.call(t, "Best", `{}`).status)
	require.Equal(t, http.StatusNotFound, f.call(t, "Best", `{"name": "fail"}`).status)
	info := decode[serverInfo](t, f.get(t, "/api/servers/SRV_one"))
	assert.Equal(t, "shop", info.App)
	assert.Equal(t, "local", info.Bus.Kind)
	assert.NotZero(t, info.Runtime.Goroutines)
	require.Len(t, info.Services, 1)
	var best *statsInfo
	for _, method := range info.Services[0].Methods {
		if method.Name == "Best" {
			best = method.Stats
		}
	}
	require.NotNil(t, best)
	assert.Equal(t, uint64(1), best.CallsOK)
	assert.Equal(t, uint64(2), best.Duration.Count)
	assert.NotEmpty(t, best.Duration.Buckets)
	require.NotNil(t, best.LastError)
	assert.Equal(t, "there is no such item", best.LastError.Text)
	assert.Equal(t, http.StatusNotFound, f.get(t, "/api/servers/SRV_none").status)
	assert.Equal(t, http.StatusBadRequest, f.get(t, "/api/servers/"+strings.Repeat("x", 600)).status)
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assert.JSONEq(t, `{"state": "draining"}`, f.post(t, "/api/servers/SRV_one/drain", "").body)
	assert.JSONEq(t, `{"state": "serving"}`, f.post(t, "/api/servers/SRV_one/resume", "{}").body)
	assert.JSONEq(t, `{"previous": "INFO", "level": "DEBUG"}`, f.post(t, "/api/servers/SRV_one/log-level", `{"level": "DEBUG"}`).body)
	assert.Equal(t, http.StatusBadRequest, f.post(t, "/api/servers/SRV_one/log-level", `{"level": "LOUD"}`).status)
	assert.Equal(t, http.StatusBadRequest, f.post(t, "/api/servers/SRV_one/log-level", `{}`).status)
	assert.Equal(t, http.StatusNotImplemented, f.post(t, "/api/servers/SRV_one/reload-plugin", `{"name": "x"}`).status)
	assert.Equal(t, http.StatusPreconditionFailed, f.post(t, "/api/servers/SRV_none/drain", "").status)
	assert.Equal(t, http.StatusBadRequest, f.post(t, "/api/who", `{}`, "Content-Type: text/plain").status)
}

func TestWho(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	who := decode[whoResponse](t, f.post(t, "/api/who", `{"method": "shop.Shop/Best", "request": {"name": "tea"}, "timeout": 10}`))
	require.Len(t, who.Candidates, 1)
	assert.Equal(t, "SRV_one", who.Candidates[0].Server)
	assert.InDelta(t, 0.5, who.Candidates[0].Affinity, 1e-6)
	require.Len(t, who.Declined, 1)
	assert.Equal(t, "SRV_two", who.Declined[0].Server)
	assert.Equal(t, "SRV_one", who.Selected)
	assert.Equal(t, 2, *who.Reached)
	for _, body := range []string{
		`{"method": "shop.Shop/Best", "request": {"nme": "tea"}}`, `{"method": "shop.Shop/Best", "timeout": -1}`,
		`{"method": "shop.Shop/Best", "request": 7}`, `{"method": `,
	} {
		assert.Equal(t, http.StatusBadRequest, f.post(t, "/api/who", body).status, body)
	}
	assert.Equal(t, http.StatusPreconditionFailed, f.post(t, "/api/who", `{"method": "shop.Shop/News"}`).status)
	assert.Equal(t, http.StatusTooManyRequests, f.post(t, "/api/who", strings.Repeat(" ", maxBody+1)).status)
}

func TestTap(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := f.events(t, "/api/tap?method=shop.Shop/*&filter="+`message.name%3D%3D"tea"`)
	var opened tapOpened
	require.NoError(t, json.Unmarshal(events.next("open"), &opened))
	assert.Equal(t, []string{"SRV_one", "SRV_two"}, opened.Servers)
	require.Equal(t, http.StatusOK, f.call(t, "Best", `{"name": "milk"}`).status)
	require.Equal(t, http.StatusOK, f.call(t, "Best", `{"name": "tea", "secret": "x"}`).status)
	for _, want := range []struct{ kind, direction string }{{"request", "in"}, {"response", "out"}} {
		var shown frame
		for shown.Kind != want.kind {
			require.NoError(t, json.Unmarshal(events.next("frame"), &shown))
		}
		assert.Equal(t, "shop.Shop/Best", shown.Method)
		assert.Equal(t, want.direction, shown.Direction)
		assert.JSONEq(t, `{"name": "tea", "secret": "[redacted]"}`, string(shown.Message))
	}
	f.servers[0].Kill()
	f.servers[1].Kill()
	events.next("end")
}

// Servers that refuse a tap must not keep the messages of other servers from being shown.
func TestTap_ManyServersRefuse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	service := parseShop(t, shopSource)
	for i := range fleet.MaxTapped {
		server := dynamic.NewServer(f.bus, dynamic.WithServerID(fmt.Sprintf("SRV_%02d", i)), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
		t.Cleanup(server.Kill)
		_, err := server.Register(service, dynamic.Handlers{"Best": dynamic.Unary(
			func(_ context.Context, request item) (item, error) { return request, nil },
			dynamic.WithAffinity(func(context.Context, item) float32 { return -1 }),
		)}, dynamic.AllowMissing())
		require.NoError(t, err)
		_, err = fleet.Serve(server)
		require.NoError(t, err)
	}
	events := f.events(t, "/api/tap?method=shop.Shop/Best")
	var opened tapOpened
	require.NoError(t, json.Unmarshal(events.next("open"), &opened))
	assert.Equal(t, []string{"SRV_one", "SRV_two"}, opened.Servers)
	assert.Len(t, opened.Refused, fleet.MaxTapped)
	assert.Equal(t, fleet.MaxTapped+2, opened.Found)
	require.Equal(t, http.StatusOK, f.call(t, "Best", `{"name": "tea"}`).status)
	var shown frame
	for shown.Kind != "request" {
		require.NoError(t, json.Unmarshal(events.next("frame"), &shown))
	}
	assert.Equal(t, "shop.Shop/Best", shown.Method)
	assert.JSONEq(t, `{"name": "tea"}`, string(shown.Message))
}

func TestTap_Refuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, query := range []string{"rate=0", "rate=x", "rate=1e9", "method=[", "filter=1%2B", "filter=" + strings.Repeat("x", 5000)} {
		assert.Equal(t, http.StatusBadRequest, f.get(t, "/api/tap?"+query).status, query)
	}
	assert.Equal(t, http.StatusNotFound, f.get(t, "/api/tap?method=other.Service/*").status)
	assert.Equal(t, http.StatusNotFound, f.get(t, "/api/tap?server=SRV_none").status)
}

func TestCheckFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assert.JSONEq(t, `{}`, f.post(t, "/api/check-filter", `{"filter": "code != \"\""}`).body)
	assert.JSONEq(t, `{}`, f.post(t, "/api/check-filter", `{}`).body)
	wrong := f.post(t, "/api/check-filter", `{"filter": "code !=\n 7 +"}`)
	assert.Equal(t, http.StatusBadRequest, wrong.status)
	var told problem
	require.NoError(t, json.Unmarshal([]byte(wrong.body), &told))
	assert.Equal(t, 2, told.Line, told.Message)
	assert.Positive(t, told.Column)
}
