// Sandboxed is a WebAssembly plugin that provides the echo service and decodes messages.
package main

import (
	"context"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest/guestproto"
)

func init() { //nolint:gochecknoinits // main is not called in a WebAssembly plugin
	guestproto.Handle("echo.Proto/Echo", func(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		return request, nil
	})
}

func main() {}
