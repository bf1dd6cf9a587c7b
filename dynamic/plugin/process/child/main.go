package child

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// openTimeout is the maximum time for opening the bus.
	openTimeout = 20 * time.Second
	// DrainTimeout is the maximum time for which [Main] waits for running handlers when the program
	// must end. The host may kill the program earlier, see plugin.WithDrainTimeout.
	DrainTimeout = 30 * time.Second
)

// Main is the main function of a plugin. It opens the bus in the environment variable DYNPSRPC_BUS,
// calls register with a server on that bus, reports to the host that the services are ready, and
// waits until the host stops the program. Then it waits for running handlers and returns. If an
// error occurs, Main writes it to standard error and exits with status 1.
//
// The context of register ends when the program must end. Use it for background work that register
// starts.
func Main(register func(ctx context.Context, server *dynamic.Server) error, opts ...dynamic.ServerOption) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, environment{os.Getenv, os.Stdin, os.Stdout}, register, opts...)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plugin:", err)
		os.Exit(1)
	}
}

// environment is the connection of a program to its host. Tests replace it.
type environment struct {
	getenv func(name string) string
	stdin  io.Reader
	stdout io.Writer
}

// run is Main without signals and exit. It returns when ctx or stdin has ended.
func run(
	ctx context.Context, env environment,
	register func(ctx context.Context, server *dynamic.Server) error, opts ...dynamic.ServerOption,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := env.watchHost(cancel); err != nil {
		return err
	}
	b, err := env.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // the program ends
	server := dynamic.NewServer(b, opts...)
	defer server.Kill()
	if err := register(ctx, server); err != nil {
		return err
	}
	if _, err := env.stdout.Write(readyLine(server.Services())); err != nil {
		return errors.NewErrorf(errors.Unavailable, "cannot write the ready line to the host: %w", err)
	}
	<-ctx.Done()
	drain, cancelDrain := context.WithTimeout(context.Background(), DrainTimeout)
	defer cancelDrain()
	return server.Shutdown(drain)
}

// watchHost calls stop when stdin ends: the host closes it to stop the program, and the system does
// when the host dies. It does nothing if the program runs without a host.
func (env environment) watchHost(stop func()) error {
	version := env.getenv(childproto.EnvABI)
	if version == "" {
		return nil
	}
	if version != strconv.Itoa(childproto.Version) {
		return errors.NewErrorf(errors.FailedPrecondition,
			"the host uses protocol version %s, but this program uses version %d: rebuild the program",
			version, childproto.Version)
	}
	go func() { // ends with stdin or the program
		_, _ = io.Copy(io.Discard, env.stdin)
		stop()
	}()
	return nil
}

// openBus opens the bus that the host uses.
func (env environment) openBus(ctx context.Context) (bus.Bus, error) {
	url := env.getenv(childproto.EnvBus)
	if url == "" {
		return nil, errors.NewErrorf(errors.FailedPrecondition,
			"this program is a plugin: start it with a plugin host, or set %s to the URL of a bus", childproto.EnvBus)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	b, err := bus.Open(ctx, url)
	if err != nil {
		return nil, errors.NewErrorf(errors.Unavailable, "cannot open the bus: %w", err)
	}
	return b, nil
}

// readyLine returns the line that lists the registered services.
func readyLine(services []*registry.Service) []byte {
	ready := childproto.Ready{Version: childproto.Version}
	for _, service := range services {
		s := childproto.Service{Name: string(service.Name()), WireName: service.WireName()}
		for _, method := range service.Methods() {
			s.Methods = append(s.Methods, method.Name())
		}
		ready.Services = append(ready.Services, s)
	}
	return ready.Line()
}
