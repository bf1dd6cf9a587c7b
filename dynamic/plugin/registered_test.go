package plugin_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const topicalProto = `
syntax = "proto3";
package topical;
import "google/protobuf/wrappers.proto";
import "options.proto";
service Regions {
  rpc Weather(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).topics = true; }
  rpc News(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).subscription = true; }
}
`

// regionsLoader has code that registers a topic, which is the code itself, and publishes.
type regionsLoader struct{ registrations chan *dynamic.Registration }

func (regionsLoader) Name() string { return "regions" }

func (l regionsLoader) Load(_ context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	weather := func(context.Context, text) (text, error) { return wrapperspb.String("rain"), nil }
	return benchCode{plugin.Service{
		Descriptor: source.Services[0].Descriptor(),
		Handlers:   dynamic.Handlers{"Weather": dynamic.Unary(weather)},
		Registered: func(registration *dynamic.Registration) error {
			if string(source.Content) == "refuse" {
				return errors.New("not now")
			}
			l.registrations <- registration
			return registration.RegisterTopic("Weather", string(source.Content))
		},
	}}, nil
}

func TestService_RegisteredGetsTheRegistration(t *testing.T) {
	t.Parallel()
	loader := regionsLoader{make(chan *dynamic.Registration, 10)}
	w := newWorld(t, plugin.WithLoaders(loader))
	w.write("topical.proto", topicalProto)
	require.NoError(t, w.registry.ParseProto(os.DirFS(w.root), "topical.proto"))
	regions := func(m *plugin.Manifest) { m.Loader, m.Descriptors, m.Services = "regions", "topical.proto", nil }
	load := func(code string) error {
		folder := w.plugin("regions", code, regions)
		w.write("regions/topical.proto", topicalProto)
		return w.host.Load(t.Context(), folder)
	}
	weather, err := dynamic.NewClient[text, text](w.conn, "topical.Regions/Weather")
	require.NoError(t, err)
	requireTopics := func(topics ...string) {
		t.Helper()
		for _, topic := range topics {
			_, err := weather.Topic(topic).Call(t.Context(), wrapperspb.String(""))
			require.NoError(t, err, topic)
		}
	}
	require.NoError(t, load("eu"))
	requireTopics("eu")
	require.NoError(t, load("us"))
	requireTopics("eu", "us")
	err = load("refuse")
	require.ErrorContains(t, err, "its function Registered failed: not now")
	require.NotContains(t, err.Error(), "already registered")
	require.Len(t, loader.registrations, 3) // the version before gets another one
	requireTopics("eu", "us")
	require.NoError(t, load("asia"))
	requireTopics("eu", "us", "asia")
}
