// Program peer is run by the chaos tests in many processes. Each process is a server, a consumer of
// updates, or a client that makes calls of every kind at a steady rate.
//
//	peer server|consumer|client -bus URL -name NAME [flags]
//
// The program prints a line to standard output for each thing that it does; see report.go. It reads
// commands from standard input; see commands.go. SIGTERM ends it gracefully.
//
// The tests also build this program with an older commit of this module. It therefore uses only the
// part of the public API that exists in both versions.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"  // registers the driver for NATS URLs
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus" // registers the drivers for Redis URLs
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// endTimeout is how long a server waits for running requests when the process ends.
	endTimeout = 10 * time.Second
	// keepalive is the keepalive interval of streams. It is short, so that streams to a killed
	// process have ended before a test checks for leaks.
	keepalive = time.Second
)

// settings are the flags of the program.
type settings struct {
	role, bus, name string
	// takes is how long each handler runs.
	takes time.Duration
	// timeout is the timeout of every call.
	timeout time.Duration
	// loss is the fraction of published frames that are dropped. seed is the seed of the random
	// numbers that select these frames.
	loss float64
	seed uint64
	// jitter is the maximum delay of a published frame. The delay of each frame is random.
	jitter time.Duration
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New("usage: peer server|consumer|client [flags]")
	}
	s := settings{role: os.Args[1]}
	flags := flag.NewFlagSet(s.role, flag.ContinueOnError)
	flags.StringVar(&s.bus, "bus", "", "URL of the bus")
	flags.StringVar(&s.name, "name", "", "unique name of the process")
	flags.DurationVar(&s.takes, "takes", 2*time.Millisecond, "duration of a handler")
	flags.DurationVar(&s.timeout, "timeout", 2*time.Second, "timeout of calls")
	flags.Float64Var(&s.loss, "loss", 0, "share of the published frames that are dropped")
	flags.Uint64Var(&s.seed, "seed", 1, "seed of the plan that selects the dropped frames")
	flags.DurationVar(&s.jitter, "jitter", 0, "longest delay of a published frame")
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silence{})

	go reportStalls() // this goroutine runs until the process ends
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	link, err := bus.Open(ctx, s.bus)
	if err != nil {
		return err
	}
	if s.loss > 0 || s.jitter > 0 {
		link = newUnreliable(link, s)
	}
	roles := map[string]func(context.Context, settings, bus.Bus) error{
		"server": runServer, "consumer": runConsumer, "client": runClient,
	}
	runRole, ok := roles[s.role]
	if !ok {
		return errors.NewErrorf(errors.InvalidArgument, "unknown role %q", s.role)
	}
	err = runRole(ctx, s, link)
	if closed := link.Close(); err == nil {
		err = closed
	}
	reportf("done %v", err)
	return nil
}

// newConn returns a [dynamic.Conn] for a client or a consumer.
func newConn(link bus.Bus) (*dynamic.Conn, error) {
	reg, err := newRegistry()
	if err != nil {
		return nil, err
	}
	return dynamic.NewConn(link, reg, dynamic.WithKeepalive(keepalive))
}

// silence is a logger for go-redis that discards all messages.
type silence struct{}

// Printf implements the logger interface of go-redis.
func (silence) Printf(context.Context, string, ...any) {}
