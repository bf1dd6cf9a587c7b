// Echoguest is the smallest plugin there is.
package main

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

func init() {
	guest.Handle("test.Bytes/Echo", func(_ context.Context, request []byte) ([]byte, error) { return request, nil })
}

func main() {}
