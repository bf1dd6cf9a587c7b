// Bytes serves the echo service as a WebAssembly plugin without decoding messages.
package main

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

func init() { //nolint:gochecknoinits // main does not run in a WebAssembly plugin
	guest.Handle("echo.Bytes/Echo", func(_ context.Context, request []byte) ([]byte, error) { return request, nil })
}

func main() {}
