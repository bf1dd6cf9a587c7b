package fleet_test

import (
	"context"
	"fmt"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

func ExampleServe() {
	b := bus.NewLocal()
	server := dynamic.NewServer(b, dynamic.WithServerID("SRV_shop"))
	status, err := fleet.Serve(server,
		fleet.WithApp("shop", "1.4.2"),
		fleet.WithLabels(map[string]string{"region": "eu"}),
		fleet.WithCheck("database", 10*time.Second, func(ctx context.Context) error { return nil }),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := status.Server(context.Background())
	fmt.Println(answer.ID, answer.App, answer.AppVersion, answer.State)

	// This also closes the Status.
	if err := server.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: SRV_shop shop 1.4.2 starting
}

func ExampleWithPlugins() {
	server := dynamic.NewServer(bus.NewLocal())
	defer server.Kill()
	host, err := plugin.NewHost(server)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer host.Close()
	list := func() (plugins []fleet.Plugin) {
		for _, p := range host.List() {
			plugins = append(plugins, fleet.Plugin{
				Name: p.Name, Version: p.Version, Loader: p.Loader, State: string(p.State), Since: p.Since,
			})
		}
		return plugins
	}
	status, err := fleet.Serve(server, fleet.WithPlugins(list))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(status.Server(context.Background(), fleet.PartPlugins).Plugins))
	// Output: 0
}
