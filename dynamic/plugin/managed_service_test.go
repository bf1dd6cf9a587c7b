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

// regionsLoader loads plugins that register a topic. The code of a plugin is the name of the
// topic.
type regionsLoader struct{ registrations chan *dynamic.Registration }

func (regionsLoader) Name() string { return "regions" }

func (l regionsLoader) Load(_ context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	weather := func(context.Context, text) (text, error) { return wrapperspb.String("rain"), nil }
	return benchInstance{plugin.Service{
		Descriptor: source.Services[0].Descriptor(),
		Handlers:   dynamic.Handlers{"Weather": dynamic.Unary(weather)},
		Registered: func(registration *dynamic.Registration) error {
			if string(source.Content) == "refuse" {
				return errors.New("topic refused")
			}
			l.registrations <- registration
			return registration.RegisterTopic("Weather", string(source.Content))
		},
	}}, nil
}

func TestService_RegisteredGetsTheRegistration(t *testing.T) {
	t.Parallel()
	loader := regionsLoader{make(chan *dynamic.Registration, 10)}
	f := newFleet(t, plugin.WithLoaders(loader))
	f.write("topical.proto", topicalProto)
	require.NoError(t, f.registry.ParseProto(os.DirFS(f.root), "topical.proto"))
	regions := func(m *plugin.Manifest) { m.Loader, m.Descriptors, m.Services = "regions", "topical.proto", nil }
	load := func(code string) error {
		folder := f.plugin("regions", code, regions)
		f.write("regions/topical.proto", topicalProto)
		return f.host.Load(t.Context(), folder)
	}
	weather, err := dynamic.NewClient[text, text](f.conn, "topical.Regions/Weather")
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
	require.ErrorContains(t, err, "function Registered failed: topic refused")
	require.NotContains(t, err.Error(), "already registered")
	// The old version was registered once more after the failed load.
	require.Len(t, loader.registrations, 3)
	requireTopics("eu", "us")
	require.NoError(t, load("asia"))
	requireTopics("eu", "us", "asia")
}
