// Command sandboxed is a plugin that is compiled to WebAssembly. It gets requests, a log, random
// numbers and a clock, and nothing else of the host. The example plugins builds and loads it. Its
// method Greet returns its version and a greeting.
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
