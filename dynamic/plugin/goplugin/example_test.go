package goplugin_test

import (
	"context"
	"log"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/goplugin"
)

// A host loads a Go plugin into its own process.
func ExampleNewLoader() {
	b := bus.NewLocal()
	host, err := plugin.NewHost(dynamic.NewServer(b), plugin.WithLoaders(goplugin.NewLoader()))
	if err != nil {
		log.Fatal(err)
	}
	// The folder has a shared object and a manifest such as
	// {"name": "greeter", "loader": "go", "code": "greeter.so"}
	if err := host.Load(context.Background(), "plugins/greeter"); err != nil {
		log.Fatal(err) // for example, the plugin was built with another Go version
	}
}
