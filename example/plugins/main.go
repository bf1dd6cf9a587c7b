// Command plugins demonstrates a host that loads, replaces and unloads plugins of each kind: a Go
// plugin, a WebAssembly module and a separate program. It builds two versions of each plugin and
// moves the first version into the directory that the host watches. It then replaces the first
// version with the second while a client keeps making calls, and finally removes the plugin.
//
//	go run ./example/plugins
//	go run ./example/plugins -bus nats://127.0.0.1:4222
//
// Without -bus, it starts a NATS server in its own process. Building the plugins for the first time
// can take a few minutes. For each plugin, it prints three lines: the first answer, the versions
// that answered during the replacement, and the error code of a call after the plugin has been
// unloaded.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/goplugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func main() {
	url := flag.String("bus", "", "`URL` of a bus; if empty, a NATS server is started in this process")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *url, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run builds the plugins and runs the demo.
func run(ctx context.Context, url string, out io.Writer) (err error) {
	if url == "" {
		broker, err := startBroker()
		if err != nil {
			return err
		}
		defer broker.WaitForShutdown()
		defer broker.Shutdown()
		url = broker.ClientURL()
	}
	b, err := bus.Open(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	folder, err := os.MkdirTemp("", "plugins-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	_, _ = fmt.Fprintln(out, "building two versions of each plugin")
	if err := buildAll(ctx, folder); err != nil {
		return err
	}
	srv := dynamic.NewServer(b)
	defer srv.Kill()
	d, err := newDemo(srv, url, filepath.Join(folder, "plugins"), out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	return d.run(ctx, b, folder)
}

// startBroker starts a NATS server in this process.
func startBroker() (*server.Server, error) {
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true})
	if err != nil {
		return nil, err
	}
	broker.Start()
	if !broker.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("NATS server did not start within 10s")
	}
	return broker, nil
}

// newHost returns a host with all loaders, and a function that closes the loaders. Call the
// function after the host has shut down.
func newHost(srv *dynamic.Server, url string, events func(plugin.Event)) (*plugin.Host, func() error, error) {
	sandboxes, err := wasm.NewLoader()
	if err != nil {
		return nil, nil, err
	}
	processes, err := process.NewLoader(url)
	if err != nil {
		return nil, nil, errors.Join(err, sandboxes.Close())
	}
	host, err := plugin.NewHost(srv,
		plugin.WithLoaders(goplugin.NewLoader(), sandboxes, processes),
		// The host need not log events, because the demo handles them.
		plugin.WithLogger(slog.New(slog.DiscardHandler)),
		plugin.WithEvents(events),
	)
	if err != nil {
		return nil, nil, errors.Join(err, sandboxes.Close())
	}
	return host, sandboxes.Close, nil
}
