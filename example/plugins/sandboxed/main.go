// Sandboxed is a plugin that is compiled to WebAssembly: it gets nothing but requests, a log and a clock.
package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest/guestproto"
)

func init() { guestproto.Handle("example.plugins.Sandboxed/Greet", greet) } //nolint:gochecknoinits // main is never run

func greet(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(fmt.Sprintf("version %s, in a sandbox: hello, %s", version, name.GetValue())), nil
}

func main() {}
