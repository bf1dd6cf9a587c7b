package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/goplugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"

	"github.com/dynpsrpc/dynpsrpc/tests/bench/plugins/echo"
)

func main() {
	rounds := flag.Int("rounds", 5, "number of rounds; each row runs once in each round")
	duration := flag.Duration("time", time.Second, "how long each row runs in each round, first with one caller and then again with many")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if flag.Arg(0) == brokerArgument {
		err = serveAsBroker()
	} else {
		err = compare(ctx, *rounds, *duration)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plugins:", err)
		os.Exit(1)
	}
}

// compare runs several rounds of measurements and then prints a table of the results. In each
// round, it measures every row of the table twice, each time for the given duration: first with one
// caller, and then with many callers.
func compare(ctx context.Context, rounds int, duration time.Duration) (err error) {
	var cleanups cleanups
	defer func() { err = errors.Join(err, cleanups.run()) }()
	rows, err := open(ctx, &cleanups)
	if err != nil {
		return err
	}
	for range rounds {
		for _, r := range rows {
			if err := r.measure(ctx, duration); err != nil {
				return err
			}
		}
	}
	printTable(os.Stdout, rows)
	return nil
}

// cleanups holds functions that release resources. The method run calls them in reverse order.
type cleanups []func() error

func (c *cleanups) add(cleanup func() error) { *c = append(*c, cleanup) }

func (c *cleanups) run() (err error) {
	for _, cleanup := range slices.Backward(*c) {
		err = errors.Join(err, cleanup())
	}
	return err
}

// open starts the native handlers and the plugins. It returns one row of the table for each of
// them, and adds the functions that stop them to cleanups.
func open(ctx context.Context, cleanups *cleanups) ([]*row, error) {
	url, err := startBroker(ctx, cleanups)
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp("", "plugins-")
	if err != nil {
		return nil, err
	}
	cleanups.add(func() error { return os.RemoveAll(root) })
	folders, err := buildGuests(ctx, root)
	if err != nil {
		return nil, err
	}
	local := bus.NewLocal()
	cleanups.add(local.Close)
	if err := serveOn(local, "echo.Handler", cleanups); err != nil {
		return nil, err
	}
	nats, err := connect(ctx, url, cleanups)
	if err != nil {
		return nil, err
	}
	if err := serveOn(nats, "echo.Served", cleanups); err != nil {
		return nil, err
	}
	if err := host(ctx, local, url, folders, cleanups); err != nil {
		return nil, err
	}
	return dial(ctx, local, url, cleanups)
}

func connect(ctx context.Context, url string, cleanups *cleanups) (bus.Bus, error) {
	b, err := bus.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	cleanups.add(b.Close)
	return b, nil
}

// serveOn starts a server on b and registers native handlers for the echo service with the given
// name.
func serveOn(b bus.Bus, name string, cleanups *cleanups) error {
	service, err := echo.Service(name)
	if err != nil {
		return err
	}
	srv := dynamic.NewServer(b)
	cleanups.add(func() error { return srv.Shutdown(context.Background()) })
	_, err = srv.Register(service, echo.Handlers())
	return err
}

// host loads the plugins from the given folders and serves them on b. Process plugins serve on the
// broker at url instead.
func host(ctx context.Context, b bus.Bus, url string, folders []string, cleanups *cleanups) error {
	sandboxes, err := wasm.NewLoader()
	if err != nil {
		return err
	}
	cleanups.add(sandboxes.Close)
	processes, err := process.NewLoader(url)
	if err != nil {
		return err
	}
	srv := dynamic.NewServer(b)
	cleanups.add(func() error { return srv.Shutdown(context.Background()) })
	host, err := plugin.NewHost(srv,
		plugin.WithLoaders(goplugin.NewLoader(), sandboxes, processes), plugin.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	cleanups.add(func() error { return host.Shutdown(context.Background()) })
	for _, folder := range folders {
		if err := host.Load(ctx, folder); err != nil {
			return err
		}
	}
	return nil
}

// dial creates a client for each native handler and each plugin, and returns one row of the table
// for each client. The row of the native handler comes first among the rows on the same bus.
func dial(ctx context.Context, local bus.Bus, url string, cleanups *cleanups) (rows []*row, err error) {
	reg := registry.New()
	if err := reg.ParseProto(echo.Files, echo.FileName); err != nil {
		return nil, err
	}
	nats, err := connect(ctx, url, cleanups)
	if err != nil {
		return nil, err
	}
	for _, on := range []struct {
		name string
		bus  bus.Bus
		// Each pair consists of the name of a row and the name of the service that the row
		// measures.
		served [][2]string
	}{
		{"in process", local, [][2]string{
			{"native handler", "echo.Handler"}, {"Go plugin", "echo.Native"},
			{"WebAssembly, bytes", "echo.Bytes"}, {"WebAssembly, protobuf", "echo.Proto"},
		}},
		{"NATS", nats, [][2]string{{"native handler", "echo.Served"}, {"process", "echo.Separate"}}},
	} {
		conn, err := dynamic.NewConn(on.bus, reg)
		if err != nil {
			return nil, err
		}
		cleanups.add(conn.Close)
		var native *row
		for _, served := range on.served {
			client, err := dynamic.NewClient[text, text](conn, served[1]+"/Echo")
			if err != nil {
				return nil, err
			}
			rows = append(rows, &row{name: served[0], bus: on.name, client: client, native: native})
			if native == nil {
				native = rows[len(rows)-1]
			}
		}
	}
	return rows, nil
}
