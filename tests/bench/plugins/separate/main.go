// Separate is a process plugin that provides the echo service.
package main

import (
	"context"

	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process/child"

	"github.com/dynpsrpc/dynpsrpc/tests/bench/plugins/echo"
)

func main() {
	child.Main(func(_ context.Context, server *dynamic.Server) error {
		service, err := echo.Service("echo.Separate")
		if err != nil {
			return err
		}
		_, err = server.Register(service, echo.Handlers())
		return err
	})
}
