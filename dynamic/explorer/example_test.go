package explorer_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/explorer"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// ExampleNew serves the pages for all services that the servers on a bus serve.
func ExampleNew() {
	b, reg := bus.NewLocal(), registry.New()
	conn := must(dynamic.NewConn(b, reg))
	defer conn.Close()
	f := must(fleet.New(conn))
	// The registry follows the fleet, so that the pages can call all services of its servers.
	follower := must(f.Follow(context.Background(), reg, nil))
	defer follower.Close()
	gw := must(gateway.New(conn, reg, gateway.WithMethods("*/*"), gateway.WithErrorFacts(), gateway.WithPsrpcStatus()))
	pages := must(explorer.New(f, gw, explorer.WithReadOnly()))
	defer pages.Close()

	server := httptest.NewServer(pages) // in a program: gateway.Server(pages) on 127.0.0.1
	defer server.Close()
	link := pages.LoginURL(server.URL)
	fmt.Println(strings.Contains(link, "/?token="))
	// Output: true
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
