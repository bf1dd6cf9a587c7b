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
	// openTimeout bounds the wait for the bus.
	openTimeout = 20 * time.Second
	// DrainTimeout is how long running handlers may go on when the program is to end. A host may be less patient.
	DrainTimeout = 30 * time.Second
)

// Main is the whole of a program's main function. It opens the bus that the host names, lets register put services onto
// a server there, tells the host that they are ready, and waits until the program is to end. Then it lets running
// handlers finish and returns. If something fails, it writes that to stderr and ends the program with exit status 1.
//
// The context of register ends when the program is to end; what register starts besides services can go by it.
func Main(register func(ctx context.Context, server *dynamic.Server) error, opts ...dynamic.ServerOption) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, environment{os.Getenv, os.Stdin, os.Stdout}, register, opts...)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plugin:", err)
		os.Exit(1)
	}
}

// environment is what a program has of its host.
type environment struct {
	getenv func(name string) string
	stdin  io.Reader
	stdout io.Writer
}

// run returns when ctx has ended, or stdin.
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
		return errors.NewErrorf(errors.Unavailable, "the host cannot be told that the services are ready: %w", err)
	}
	<-ctx.Done()
	drain, cancelDrain := context.WithTimeout(context.Background(), DrainTimeout)
	defer cancelDrain()
	return server.Shutdown(drain)
}

// watchHost calls stop when the host is gone, or says so, if there is one.
func (env environment) watchHost(stop func()) error {
	version := env.getenv(childproto.EnvABI)
	if version == "" {
		return nil
	}
	if version != strconv.Itoa(childproto.Version) {
		return errors.NewErrorf(errors.FailedPrecondition,
			"the host speaks version %s with its plugins, and this program speaks version %d: build it anew",
			version, childproto.Version)
	}
	go func() { // it ends with its input, or the program
		_, _ = io.Copy(io.Discard, env.stdin)
		stop()
	}()
	return nil
}

func (env environment) openBus(ctx context.Context) (bus.Bus, error) {
	url := env.getenv(childproto.EnvBus)
	if url == "" {
		return nil, errors.NewErrorf(errors.FailedPrecondition,
			"this program is a plugin: have a host run it, or set %s to the URL of a bus", childproto.EnvBus)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	b, err := bus.Open(ctx, url)
	if err != nil {
		return nil, errors.NewErrorf(errors.Unavailable, "the bus cannot be opened: %w", err)
	}
	return b, nil
}

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
