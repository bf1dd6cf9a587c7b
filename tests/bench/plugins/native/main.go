// Native serves the echo service as a Go plugin.
package main

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"

	"github.com/dynpsrpc/dynpsrpc/tests/bench/plugins/echo"
)

// Services is the variable that the host looks up.
func Services() ([]plugin.Service, error) {
	service, err := echo.Service("echo.Native")
	if err != nil {
		return nil, err
	}
	return []plugin.Service{{Descriptor: service.Descriptor(), Handlers: echo.Handlers()}}, nil
}

func main() {}
