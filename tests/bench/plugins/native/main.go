// Native is a Go plugin that provides the echo service.
package main

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"

	"github.com/dynpsrpc/dynpsrpc/tests/bench/plugins/echo"
)

// Services returns the services of the plugin. The loader looks up this function by its name.
func Services() ([]plugin.Service, error) {
	service, err := echo.Service("echo.Native")
	if err != nil {
		return nil, err
	}
	return []plugin.Service{{Descriptor: service.Descriptor(), Handlers: echo.Handlers()}}, nil
}

func main() {}
