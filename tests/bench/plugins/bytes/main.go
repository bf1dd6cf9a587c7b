// Bytes is the service in WebAssembly, without a look into the messages.
package main

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

func init() { //nolint:gochecknoinits // main is never run
	guest.Handle("echo.Bytes/Echo", func(_ context.Context, request []byte) ([]byte, error) { return request, nil })
}

func main() {}
