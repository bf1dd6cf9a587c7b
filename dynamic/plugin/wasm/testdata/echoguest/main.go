// Command echoguest is a minimal plugin for tests: it returns each request.
package main

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

func init() {
	guest.Handle("test.Bytes/Echo", func(_ context.Context, request []byte) ([]byte, error) { return request, nil })
}

func main() {}
