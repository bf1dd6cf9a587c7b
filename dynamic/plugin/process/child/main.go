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
	// DrainTimeout is how long [Main] waits for running handlers after the program has been asked
	// to stop. The host may kill the program earlier; see plugin.WithDrainTimeout.
	DrainTimeout = 30 * time.Second
)

// Main implements the main function of a plugin. It opens the bus whose URL is in the environment
// variable DYNPSRPC_BUS, and calls register with a server on that bus. Main then reports to the
// host that the services are ready and waits until the host stops the program. Finally, Main waits
// for running handlers for up to [DrainTimeout] and returns. If an error occurs, Main writes the
// error to standard error and exits with status 1.
//
// When register has returned, Main removes DYNPSRPC_BUS from the environment, so that programs that
// handlers start do not inherit the password in the URL.
//
// The context passed to register ends when the program is asked to stop. Use this context for
// background work that register starts.
func Main(register func(ctx context.Context, server *dynamic.Server) error, opts ...dynamic.ServerOption) {
	if register == nil {
		register = func(context.Context, *dynamic.Server) error { return errors.New("child.Main: the function is nil") }
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, environment{os.Getenv, os.Stdin, os.Stdout}, func(ctx context.Context, server *dynamic.Server) error {
		// Programs that handlers start must not inherit the URL, which may contain a password.
		defer os.Unsetenv(childproto.EnvBus) //nolint:errcheck // it only fails for invalid names
		return register(ctx, server)
	}, opts...)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plugin:", err)
		os.Exit(1)
	}
}

// environment contains everything through which the program communicates with its host: the
// environment variables, the standard input and the standard output. Tests replace these.
type environment struct {
	getenv func(name string) string
	stdin  io.Reader
	stdout io.Writer
}

// run implements Main without handling signals or exiting. When ctx has ended or stdin has been
// closed, run shuts down the server and returns.
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
	defer b.Close() //nolint:errcheck // the program is about to exit
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

// watchHost starts a goroutine that calls stop when stdin is closed. The host closes stdin to stop
// the program, and the operating system closes stdin when the host dies. If the program runs
// without a host, watchHost does nothing. If the host uses another protocol version, watchHost
// returns an error.
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
	go func() { // this goroutine ends when stdin is closed or the program exits
		_, _ = io.Copy(io.Discard, env.stdin)
		stop()
	}()
	return nil
}

// openBus opens the bus whose URL is in the environment variable DYNPSRPC_BUS.
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

// readyLine returns the line that reports the registered services to the host.
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
