// Command sandboxed is a plugin that is compiled to WebAssembly. It receives requests and has
// access to a log, random numbers and a clock, but to nothing else in the host. The plugins command
// builds and loads it. The method Greet returns the version of the plugin and a greeting.
package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest/guestproto"
)

func init() { guestproto.Handle("example.plugins.Sandboxed/Greet", greet) } //nolint:gochecknoinits // main is never called

func greet(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(fmt.Sprintf("version %s, in a sandbox: hello, %s", version, name.GetValue())), nil
}

func main() {}
