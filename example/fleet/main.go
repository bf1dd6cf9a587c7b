// Command fleet demonstrates servers and clients that run in separate processes and communicate
// over Redis or NATS. Start any number of servers, then a client:
//
//	go run ./example/fleet server --bus redis://127.0.0.1:6379 --region eu
//	go run ./example/fleet server --bus redis://127.0.0.1:6379 --region us
//	go run ./example/fleet client --bus redis://127.0.0.1:6379 --region us --count 10
//
// To use NATS, pass --bus nats://127.0.0.1:4222. A server prints its ID and region, and serves
// until it receives an interrupt or SIGTERM. It then prints how many greetings it has sent. A
// client prints the answers to its calls, which come from different servers. It then prints the
// weather in its region and one update.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	// This import registers the driver for nats:// and tls:// URLs.
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	// This import registers the driver for redis:// and rediss:// URLs.
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed fleet.proto
var protos embed.FS

type text = *wrapperspb.StringValue

const (
	usage       = "usage: fleet server|client --bus URL [--region NAME] [--count N]"
	openTimeout = 5 * time.Second
)

// settings contains the parsed command-line arguments.
type settings struct {
	role   string
	bus    string
	region string
	count  int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	reg := registry.New()
	if err := reg.ParseProto(protos, "fleet.proto"); err != nil {
		return err
	}
	b, err := open(ctx, s.bus)
	if err != nil {
		return fmt.Errorf("cannot open the bus: %w", err)
	}
	defer b.Close()

	if s.role == "server" {
		return serve(ctx, b, reg, s)
	}
	return call(ctx, b, reg, s)
}

func parse(args []string) (settings, error) {
	if len(args) == 0 || (args[0] != "server" && args[0] != "client") {
		return settings{}, errors.New(usage)
	}
	s := settings{role: args[0]}
	flags := flag.NewFlagSet("fleet "+s.role, flag.ExitOnError)
	flags.StringVar(&s.bus, "bus", "redis://127.0.0.1:6379", "`URL` of the bus")
	flags.StringVar(&s.region, "region", "eu", "`name` of the region that the server serves or the client calls")
	flags.IntVar(&s.count, "count", 6, "`number` of calls that the client makes")
	// Parse returns no error, because the flag set uses ExitOnError.
	_ = flags.Parse(args[1:])
	if flags.NArg() > 0 {
		return settings{}, fmt.Errorf("unexpected argument %q: %s", flags.Arg(0), usage)
	}
	return s, nil
}

// open opens the bus. It returns an error if the broker does not respond within openTimeout.
func open(ctx context.Context, url string) (bus.Bus, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return bus.Open(ctx, url)
}
