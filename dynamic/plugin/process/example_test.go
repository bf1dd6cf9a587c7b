package process_test

import (
	"context"
	"log"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // registers the driver for NATS URLs
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
)

// A host runs the plugins of a directory as processes. The processes serve on the host's bus.
func ExampleNewLoader() {
	const url = "nats://127.0.0.1:4222"
	ctx := context.Background()
	b, err := bus.Open(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	processes, err := process.NewLoader(url,
		process.WithReadyTimeout(10*time.Second), process.WithInheritedEnv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	host, err := plugin.NewHost(dynamic.NewServer(b), plugin.WithLoaders(processes))
	if err != nil {
		log.Fatal(err)
	}
	// Each folder has a manifest such as
	// {"name": "greeter", "loader": "process", "code": "greeter", "descriptors": "greeter.proto"}
	if err := host.Watch(ctx, "plugins"); err != nil {
		log.Fatal(err)
	}
}
