// Native is the service as a shared object.
package main

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"

	"github.com/dynpsrpc/dynpsrpc/tests/bench/plugins/echo"
)

// Services is what the host asks for.
func Services() ([]plugin.Service, error) {
	service, err := echo.Service("echo.Native")
	if err != nil {
		return nil, err
	}
	return []plugin.Service{{Descriptor: service.Descriptor(), Handlers: echo.Handlers()}}, nil
}

func main() {}
