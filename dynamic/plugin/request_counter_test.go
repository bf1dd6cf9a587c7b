package plugin_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const streamProto = `
syntax = "proto3";
package flowing;
import "google/protobuf/wrappers.proto";
import "options.proto";
service River {
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
}
`

// riverLoader loads a plugin with a stream handler. The handler sends back one message, or fails
// if the message is "fail".
type riverLoader struct{}

func (riverLoader) Name() string { return "river" }

func (riverLoader) Load(_ context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	flow := func(stream dynamic.ServerStream[text, text]) error {
		message := <-stream.Channel()
		if message.GetValue() == "fail" {
			return errors.NewErrorf(errors.Aborted, "requested failure")
		}
		return stream.Send(message)
	}
	return benchInstance{plugin.Service{
		Descriptor: source.Services[0].Descriptor(), Handlers: dynamic.Handlers{"Flow": dynamic.Stream(flow)},
	}}, nil
}

func TestHost_CountsStreams(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plugin.WithLoaders(riverLoader{}))
	f.write("flowing.proto", streamProto)
	require.NoError(t, f.registry.ParseProto(os.DirFS(f.root), "flowing.proto"))
	folder := f.plugin("river", "v 1", func(m *plugin.Manifest) {
		m.Loader, m.Descriptors, m.Services = "river", "flowing.proto", nil
	})
	f.write("river/flowing.proto", streamProto)
	require.NoError(t, f.host.Load(t.Context(), folder))
	client, err := dynamic.NewClient[text, text](f.conn, "flowing.River/Flow")
	require.NoError(t, err)
	for _, message := range []string{"one", "fail", "two"} {
		stream, err := client.OpenStream(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(wrapperspb.String(message)))
		for range stream.Channel() {
		}
	}
	require.Eventually(t, func() bool { return f.status("river").Handled == 3 }, waitTimeout, time.Millisecond,
		"the server may close the stream after the client")
	assert.EqualValues(t, 1, f.status("river").Failed)
}
