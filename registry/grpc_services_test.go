package registry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// mixedSource contains three gRPC services and two services that can be used on a bus.
const mixedSource = `syntax = "proto3"; package mix; import "options.proto"; message M {}
	service Room { rpc Do(M) returns (M); }
	service Watch { rpc All(M) returns (stream M); }
	service Upload { rpc Put(stream M) returns (M); }
	service Health { rpc Check(M) returns (M); rpc Both(stream M) returns (stream M); }
	service Live ` + streamMethod

// loaders contains all ways to load a source file into a registry. The name of the file is
// "mix.proto".
var loaders = map[string]func(t *testing.T, r *Registry, source string) error{
	"ParseProto": func(_ *testing.T, r *Registry, source string) error {
		return r.ParseProto(protos("mix.proto", source), "mix.proto")
	},
	"RegisterDescriptorSet": func(t *testing.T, r *Registry, source string) error {
		return r.RegisterDescriptorSet(set(compiled(t, "mix.proto", source)...))
	},
	"RegisterFile": func(t *testing.T, r *Registry, source string) error {
		return r.RegisterFile(linkedSource(t, "mix.proto", source))
	},
	"RegisterLinked": func(t *testing.T, r *Registry, source string) error {
		return r.registerLinked(linkedFiles(t, linkedSource(t, "mix.proto", source)))
	},
}

func serviceNames(r *Registry) []string {
	var names []string
	for _, s := range r.Services() {
		names = append(names, s.String())
	}
	return names
}

func TestGRPCServices_AreLeftOutWithANotice(t *testing.T) {
	t.Parallel()
	for label, load := range loaders {
		var notices bytes.Buffer
		r := New(WithLogger(slog.New(slog.NewTextHandler(&notices, nil))))
		require.NoError(t, load(t, r, mixedSource), label)
		assert.Equal(t, []string{"mix.Live", "mix.Room"}, serviceNames(r), label)
		assert.Equal(t, []string{"mix.Health", "mix.Upload", "mix.Watch"}, r.GRPCServices(), label)
		for _, name := range r.GRPCServices() {
			assert.Contains(t, notices.String(), name, label)
		}
		require.True(t, r.Remove("mix.Live"))
		require.True(t, r.Remove("mix.Room"))
		require.NoError(t, load(t, r, mixedSource), label)
		assert.Equal(t, 1, strings.Count(notices.String(), "mix.Watch"), "%s: a service is logged once", label)
	}
}

func TestGRPCServices_AServiceThatIsNowForTheBusIsNotListed(t *testing.T) {
	t.Parallel()
	r := New(WithLogger(slog.New(slog.DiscardHandler)))
	load := loaders["ParseProto"]
	require.NoError(t, load(t, r, mixedSource))
	require.True(t, r.Remove("mix.Room"))
	require.True(t, r.Remove("mix.Live"))
	require.NoError(t, load(t, r, strings.ReplaceAll(mixedSource, "returns (stream M)", "returns (M)")))
	assert.Equal(t, []string{"mix.Health", "mix.Upload"}, r.GRPCServices())
	assert.Contains(t, serviceNames(r), "mix.Watch")
}

func TestGRPCServices_AloneAreAnError(t *testing.T) {
	t.Parallel()
	for label, load := range loaders {
		r := New()
		err := load(t, r, `syntax = "proto3"; package g; message M {} service Watch { rpc All(M) returns (stream M); }`)
		if label == "RegisterLinked" {
			require.NoError(t, err, "programs often link gRPC services only")
			assert.Equal(t, []string{"g.Watch"}, r.GRPCServices())
			continue
		}
		require.ErrorContains(t, err, "g.Watch/All: the stream keyword is for gRPC", label)
		require.ErrorIs(t, err, ErrNoService, label)
		_, isSchemaError := errors.AsType[*SchemaError](err)
		assert.True(t, isSchemaError, label)
	}
}

func TestGRPCServices_RegisteredByThemselvesAreAnError(t *testing.T) {
	t.Parallel()
	services := linkedSource(t, "mix.proto", mixedSource).Services()
	_, err := New().Register(services.ByName("Watch"))
	require.ErrorContains(t, err, "mix.Watch/All: the stream keyword is for gRPC")
	_, err = New().Register(services.ByName("Room"))
	assert.NoError(t, err)
}
