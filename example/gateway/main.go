// Command gateway demonstrates HTTP in front of a bus.
//
//	go run ./example/gateway
//
// It starts two servers of a shop on an in-process bus and a gateway. It then uses the shop as HTTP
// clients do. It makes a call with JSON, a call that fails, and a multi call whose responses are
// newline-delimited JSON.
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
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
	reg := registry.New()
	if err := reg.ParseProto(protos, "shop.proto"); err != nil {
		return err
	}
	for _, id := range []string{"SRV_eu", "SRV_us"} {
		server, err := startShop(b, reg, id)
		if err != nil {
			return err
		}
		defer server.Shutdown(ctx)
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer conn.Close()

	gw, err := gateway.New(conn, reg, gateway.WithMethods("shop.Shop/*"), gateway.WithPsrpcStatus())
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := gateway.Server(gw)
	go server.Serve(listener)
	defer server.Close()
	url := "http://" + listener.Addr().String() + "/shop.Shop/"

	fmt.Fprintln(out, "A call with JSON:")
	if err := post(ctx, out, url+"Buy", `{"item": "tea", "count": 2}`, "application/json"); err != nil {
		return err
	}
	fmt.Fprintln(out, "A call that fails:")
	if err := post(ctx, out, url+"Buy", `{"item": "unicorn"}`, "application/json"); err != nil {
		return err
	}
	fmt.Fprintln(out, "A multi call:")
	return post(ctx, out, url+"Stock", `{"item": "tea"}`, "application/x-ndjson")
}

// post sends a request and prints the status and the body of the response.
func post(ctx context.Context, out io.Writer, url, body, accept string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Fprintln(out, response.Status)
	_, err = io.Copy(out, response.Body)
	return err
}

// startShop starts a server of the shop.
func startShop(b bus.Bus, reg *registry.Registry, id string) (*dynamic.Server, error) {
	service, err := reg.FindService("shop.Shop")
	if err != nil {
		return nil, err
	}
	receipt := func(text string) *dynamicpb.Message {
		descriptor := service.Descriptor().Methods().ByName("Buy").Output()
		message := dynamicpb.NewMessage(descriptor)
		message.Set(descriptor.Fields().ByName("text"), protoreflect.ValueOfString(text))
		return message
	}
	get := func(order *dynamicpb.Message, field protoreflect.Name) string {
		return order.Get(order.Descriptor().Fields().ByName(field)).String()
	}
	server := dynamic.NewServer(b, dynamic.WithServerID(id))
	_, err = server.Register(service, dynamic.Handlers{
		"Buy": dynamic.Unary(func(_ context.Context, order *dynamicpb.Message) (*dynamicpb.Message, error) {
			item, count := get(order, "item"), get(order, "count")
			if item != "tea" {
				return nil, errors.NewErrorf(errors.NotFound, "there is no %s", item)
			}
			return receipt(count + " of " + item + ", thank you"), nil
		}),
		"Stock": dynamic.Unary(func(context.Context, *dynamicpb.Message) (*dynamicpb.Message, error) {
			return receipt("7 in stock"), nil
		}),
	})
	return server, err
}
