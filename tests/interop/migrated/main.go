//go:build !psrpc_oldest

// Command migrated serves one service with both psrpc and dynpsrpc in one process, and calls it
// with both libraries. A service that moves from psrpc to dynpsrpc can do the same. The two servers
// use the same implementation (see shop.go), and either of them may answer a call. The program
// needs a Redis server:
//
//	go -C tests/interop run ./migrated redis://127.0.0.1:6379
package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	psrpcredis "github.com/livekit/psrpc/pkg/bus/redisbus"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: migrated redis://host:port")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves the service with both libraries and calls it with both.
func run(ctx context.Context, out io.Writer, url string) error {
	options, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	connection := redis.NewClient(options) // both libraries can use the same connections
	defer func() { _ = connection.Close() }()
	psrpcBus := psrpcredis.New(connection)
	b, err := redisbus.New(connection)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	reg, err := newRegistry()
	if err != nil {
		return err
	}

	stopPsrpcServer, err := servePsrpc(psrpcBus, &shop{server: "psrpc", affinity: 0.2})
	if err != nil {
		return err
	}
	defer stopPsrpcServer()
	stopServer, err := serve(b, reg, &shop{server: "dynpsrpc", affinity: 0.8})
	if err != nil {
		return err
	}
	defer stopServer()

	psrpcClient, stopPsrpcClient, err := connectPsrpc(psrpcBus)
	if err != nil {
		return err
	}
	defer stopPsrpcClient()
	client, stopClient, err := connect(b, reg)
	if err != nil {
		return err
	}
	defer stopClient()

	if err := callWith(ctx, out, "psrpc", psrpcClient); err != nil {
		return err
	}
	return callWith(ctx, out, "dynpsrpc", client)
}

// callWith calls all methods with the named library and prints which servers have answered. It
// repeats the call of Sell until both servers have answered. It calls Quote once, which the server
// with the higher affinity answers, and opens Chat once, which either server may answer.
func callWith(ctx context.Context, out io.Writer, library string, c shopClient) error {
	const maxCalls = 10_000
	servers := make(map[string]bool)
	for range maxCalls {
		answer, err := c.sell(ctx, tea)
		if err != nil {
			return fmt.Errorf("calling Sell with %s: %w", library, err)
		}
		server, _, _ := strings.Cut(answer.GetValue(), " ")
		servers[server] = true
		if len(servers) == 2 {
			break
		}
	}
	quote, err := c.quote(ctx, tea)
	if err != nil {
		return fmt.Errorf("calling Quote with %s: %w", library, err)
	}
	heard, err := c.chat(ctx, tea)
	if err != nil {
		return fmt.Errorf("opening Chat with %s: %w", library, err)
	}
	_, heardBy, _ := strings.Cut(heard.GetValue(), " ")
	_, err = fmt.Fprintf(out, "%s calls: sold by %s; %s; %s\n", library,
		strings.Join(slices.Sorted(maps.Keys(servers)), " and "), quote.GetValue(), heardBy)
	return err
}

var tea = wrapperspb.String("tea")
