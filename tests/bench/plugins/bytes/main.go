// Bytes is a WebAssembly plugin that provides the echo service without decoding messages.
package main

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

func init() { //nolint:gochecknoinits // main is not called in a WebAssembly plugin
	guest.Handle("echo.Bytes/Echo", func(_ context.Context, request []byte) ([]byte, error) { return request, nil })
}

func main() {}
