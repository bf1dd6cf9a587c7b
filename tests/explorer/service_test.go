package explorer

import (
	"bytes"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// openNewShop starts a server whose version of shop.Shop has a field of another type.
func openNewShop(t testing.TB, w *world) {
	t.Helper()
	source, err := protos.ReadFile("shop.proto")
	require.NoError(t, err)
	changed := bytes.Replace(source, []byte("int32 count = 2;"), []byte("string count = 2;"), 1)
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: changed}}, "shop.proto"))
	service, err := reg.FindService("shop.Shop")
	require.NoError(t, err)
	server := dynamic.NewServer(connect(t, w.broker), dynamic.WithServerID("new"))
	t.Cleanup(server.Kill)
	_, err = server.Register(service, dynamic.Handlers{}, dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = fleet.Serve(server)
	require.NoError(t, err)
}

// The page of a service must show the versions in use and their differences, and offer the schema
// for download.
func TestService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["nats"](t))
	p := openExplorer(t, w)
	p.visit("#/service/shop.Shop")
	p.has("heading", "Version")
	openNewShop(t, w)
	p.has("heading", "Versions in use")
	p.shows("breaking")
	p.shows("shop.Item.count")
	p.isAccessible("two versions of a service")

	proto := eval[string](p, "fetch(tester.find('link', 'Download .proto').href).then((response) => response.text())")
	for _, text := range []string{"package shop;", "service Shop {", "// Get tells what the shop knows of an item.", "topic_params"} {
		assert.Contains(t, proto, text)
	}
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(proto)}}, "shop.proto"))
	size := eval[int](p, "fetch(tester.find('link', 'Descriptors').href).then((response) => response.arrayBuffer()).then((bytes) => bytes.byteLength)")
	assert.Greater(t, size, 1000)
}
