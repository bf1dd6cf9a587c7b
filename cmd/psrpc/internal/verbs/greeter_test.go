package verbs_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// greeterSource declares greeting.Greeter, the service that most tests serve.
const greeterSource = `
syntax = "proto3";
package greeting;
import "options.proto";
message Name { string name = 1; %s }
message Text { string text = 1; }
service Greeter {
  rpc Hello(Name) returns (Text);
  rpc Best(Name) returns (Text) { option (psrpc.options).type = AFFINITY; }
  rpc All(Name) returns (Text) { option (psrpc.options).type = MULTI; }
  rpc News(Name) returns (Text) { option (psrpc.options) = { subscription: true type: MULTI }; }
}
`

// greeterOptions are the differences between the servers of the tests.
type greeterOptions struct {
	id string
	// field declares an additional field of the request, which makes another version of the
	// service.
	field string
	// silent keeps the server from answering queries of a fleet.
	silent bool
	// affinity is the affinity for the method Best. The default is 1.
	affinity float32
	// ran counts the requests that have run. It may be nil.
	ran *atomic.Int64
}

// serveGreeter serves greeting.Greeter until stop is called.
func serveGreeter(b bus.Bus, o greeterOptions) (stop func() error, err error) {
	reg := registry.New()
	source := fmt.Sprintf(greeterSource, o.field)
	if err := reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"); err != nil {
		return nil, err
	}
	service, _ := reg.Service("greeting.Greeter")
	text := service.Descriptor().ParentFile().Messages().ByName("Text")
	hello := func(context.Context, *dynamicpb.Message) (*dynamicpb.Message, error) {
		if o.ran != nil {
			o.ran.Add(1)
		}
		return newText(text, "Hello from "+o.id), nil
	}
	server := dynamic.NewServer(b, dynamic.WithServerID(o.id))
	stop = func() error { return server.Shutdown(context.Background()) }
	affinity := dynamic.WithAffinity(func(context.Context, *dynamicpb.Message) float32 { return cmp.Or(o.affinity, 1) })
	_, err = server.Register(service, dynamic.Handlers{"Hello": dynamic.Unary(hello), "Best": dynamic.Unary(hello, affinity), "All": dynamic.Unary(hello)})
	if err != nil || o.silent {
		return stop, err
	}
	_, err = fleet.Serve(server, fleet.WithApp("hello", "1.4.2"),
		fleet.WithAuthorize(func(context.Context, fleet.Verb) error { return nil }), fleet.WithAdmin(fleet.LogLevel(new(slog.LevelVar))))
	return stop, err
}

// startGreeter serves greeting.Greeter in the process of the test.
func startGreeter(t *testing.T, url string, o greeterOptions) {
	t.Helper()
	b, err := bus.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	startGreeterOn(t, b, o)
}

func startGreeterOn(t *testing.T, b bus.Bus, o greeterOptions) {
	t.Helper()
	stop, err := serveGreeter(b, o)
	t.Cleanup(func() { _ = stop() })
	require.NoError(t, err)
}

// newText returns a message of the type Text.
func newText(descriptor protoreflect.MessageDescriptor, text string) *dynamicpb.Message {
	message := dynamicpb.NewMessage(descriptor)
	message.Set(descriptor.Fields().ByName("text"), protoreflect.ValueOfString(text))
	return message
}
