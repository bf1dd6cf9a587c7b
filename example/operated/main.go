// Command operated demonstrates servers that describe themselves on the bus, and a program that
// operates them.
//
//	go run ./example/operated
//
// It starts two servers of different versions of a program and makes some calls. It then works like
// an operator who has nothing but the bus. It lists the servers with their health and counters,
// gets the schema of the service from them, follows changes, and drains a server.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed shop.proto
var protos embed.FS

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	b := bus.NewLocal()
	defer b.Close()
	old, err := startShop(b, "1.4.1", "eu")
	if err != nil {
		return err
	}
	defer old.Shutdown(ctx)
	current, err := startShop(b, "1.4.2", "us")
	if err != nil {
		return err
	}
	defer current.Shutdown(ctx)

	// The registry of the operator's conn is empty. The schema comes from the servers.
	conn, err := dynamic.NewConn(b, registry.New())
	if err != nil {
		return err
	}
	defer conn.Close()
	operator, err := fleet.New(conn)
	if err != nil {
		return err
	}
	if err := goShopping(ctx, b, operator); err != nil {
		return err
	}
	fmt.Fprintln(out, "The servers:")
	if err := printServers(ctx, out, operator); err != nil {
		return err
	}

	changes, err := operator.Changes(ctx)
	if err != nil {
		return err
	}
	defer changes.Close()
	fmt.Fprintln(out, "\nServer", old.ID(), "is drained:")
	allowed := dynamic.ContextWithMetadata(ctx, map[string]string{"role": "operator"})
	state, err := operator.Drain(allowed, old.ID())
	if err != nil {
		return err
	}
	change := <-changes.Channel()
	fmt.Fprintf(out, "its state is %s; everybody hears of a change: %s %s\n", state, change.ServerID, change.Kind)
	_, err = operator.Drain(ctx, current.ID())
	fmt.Fprintln(out, "without permission:", err)
	return nil
}

// startShop starts a server of the shop that also answers requests of package fleet.
func startShop(b bus.Bus, version, region string) (*dynamic.Server, error) {
	reg := registry.New()
	if err := reg.ParseProto(protos, "shop.proto"); err != nil {
		return nil, err
	}
	service, err := reg.FindService("shop.Shop")
	if err != nil {
		return nil, err
	}
	server := dynamic.NewServer(b, dynamic.WithServerID("SRV_"+region))
	if _, err := server.Register(service, dynamic.Handlers{"Order": dynamic.Unary(order)}); err != nil {
		return nil, err
	}
	_, err = fleet.Serve(server,
		fleet.WithApp("shop", version),
		fleet.WithLabels(map[string]string{"region": region}),
		fleet.WithCheck("stock", time.Second, func(context.Context) error { return nil }),
		fleet.WithAuthorize(authorize),
		// Without WithAdmin, no client can drain the server.
		fleet.WithAdmin(fleet.LogLevel(new(slog.LevelVar))),
	)
	return server, err
}

// authorize lets every client view the server, but only operators change it. A real program would
// check a token.
func authorize(ctx context.Context, verb fleet.Verb) error {
	if verb == fleet.VerbQuery || verb == fleet.VerbDescribe {
		return nil
	}
	request, _ := dynamic.RequestInfoFromContext(ctx)
	if request.Metadata["role"] != "operator" {
		return errors.NewErrorf(errors.PermissionDenied, "only operators may %s", verb)
	}
	return nil
}

// order handles the method Order. It sells up to 100 pieces at 250 cents each.
func order(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
	var wanted struct {
		Pieces int64 `json:"pieces"`
	}
	encoded, err := protojson.Marshal(request)
	if err == nil {
		err = json.Unmarshal(encoded, &wanted)
	}
	if err != nil {
		return nil, err
	}
	if wanted.Pieces > 100 {
		return nil, errors.NewErrorf(errors.OutOfRange, "there are only 100 pieces")
	}
	method := request.Descriptor().ParentFile().Services().Get(0).Methods().ByName("Order")
	response := dynamicpb.NewMessage(method.Output())
	return response, protojson.Unmarshal(fmt.Appendf(nil, `{"cents": %d}`, 250*wanted.Pieces), response)
}

// goShopping calls the shop ten times. It gets the schema from the servers.
func goShopping(ctx context.Context, b bus.Bus, operator *fleet.Fleet) error {
	schema, err := operator.Registry(ctx, "shop.Shop")
	if err != nil {
		return err
	}
	conn, err := dynamic.NewConn(b, schema)
	if err != nil {
		return err
	}
	defer conn.Close()
	for pieces := 95; pieces < 105; pieces++ {
		_, err := dynamic.Invoke(ctx, conn, "shop.Shop/Order", map[string]any{"article": "tea", "pieces": pieces})
		if err != nil && !errors.Is(err, errors.OutOfRange) {
			return err
		}
	}
	return nil
}

// printServers prints a line for each server, and the sum of their counters.
func printServers(ctx context.Context, out io.Writer, operator *fleet.Fleet) error {
	var lines []string
	var sum fleet.Stats
	var errorCount uint64
	for server, err := range operator.Servers(ctx, fleet.Parts(fleet.PartStats, fleet.PartHealth)) {
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s  %s %s  region %s  %s  health %s",
			server.ID, server.App, server.AppVersion, server.Labels["region"], server.State, server.Health.Status))
		stats := server.Services[0].Methods[0].Stats
		sum.CallsOK += stats.CallsOK
		errorCount += stats.Errors[errors.OutOfRange]
		sum.Duration.Merge(stats.Duration)
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "calls: %d ok, %d out_of_range, %d durations measured\n", sum.CallsOK, errorCount, sum.Duration.Count())
	return nil
}
