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

// riverLoader has code that answers one message of a stream, with an error if it says so.
type riverLoader struct{}

func (riverLoader) Name() string { return "river" }

func (riverLoader) Load(_ context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	flow := func(stream dynamic.ServerStream[text, text]) error {
		message := <-stream.Channel()
		if message.GetValue() == "fail" {
			return errors.NewErrorf(errors.Aborted, "as you wish")
		}
		return stream.Send(message)
	}
	return benchCode{plugin.Service{
		Descriptor: source.Services[0].Descriptor(), Handlers: dynamic.Handlers{"Flow": dynamic.Stream(flow)},
	}}, nil
}

func TestHost_CountsStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plugin.WithLoaders(riverLoader{}))
	w.write("flowing.proto", streamProto)
	require.NoError(t, w.registry.ParseProto(os.DirFS(w.root), "flowing.proto"))
	folder := w.plugin("river", "v 1", func(m *plugin.Manifest) {
		m.Loader, m.Descriptors, m.Services = "river", "flowing.proto", nil
	})
	w.write("river/flowing.proto", streamProto)
	require.NoError(t, w.host.Load(t.Context(), folder))
	client, err := dynamic.NewClient[text, text](w.conn, "flowing.River/Flow")
	require.NoError(t, err)
	for _, message := range []string{"one", "fail", "two"} {
		stream, err := client.OpenStream(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(wrapperspb.String(message)))
		for range stream.Channel() {
		}
	}
	require.Eventually(t, func() bool { return w.status("river").Handled == 3 }, patience, time.Millisecond,
		"the server's side may end after the client's")
	assert.EqualValues(t, 1, w.status("river").Failed)
}
