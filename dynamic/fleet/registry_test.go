package fleet

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// greeterVersion returns a version of the service Greeter. Its message has an additional field with
// this name.
func greeterVersion(t *testing.T, field string) *registry.Service {
	t.Helper()
	return parseGreeter(t, map[string]string{"greeter.proto": greeterSource, "common.proto": `
		syntax = "proto3"; package digest.test; message Name { string first_name = 1; string ` + field + ` = 2; }`})
}

func TestRegistry_OfOneVersion(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	greeter := greeterVersion(t, "last_name")
	first := simulate(t, b, "SRV_one", greeter)
	simulate(t, b, "SRV_two", greeter)
	f := newFleet(t, b)

	for _, name := range []string{"digest.test.Greeter", "Greeter"} {
		reg, err := f.Registry(t.Context(), name)
		require.NoError(t, err)
		service, ok := reg.Service("digest.test.Greeter")
		require.True(t, ok)
		method, ok := service.Method("Hello")
		require.True(t, ok)
		assert.Equal(t, registry.RoutingAffinity, method.Routing())
		assert.NotNil(t, method.Input().Fields().ByName("last_name"))
	}
	reg, err := f.Registry(t.Context(), "Greeter")
	require.NoError(t, err)
	first.Kill()
	again, err := f.Registry(t.Context(), "Greeter")
	require.NoError(t, err)
	assert.Same(t, reg, again, "descriptors that are known must not be sent again")

	_, err = f.Registry(t.Context(), "digest.test.Unknown")
	assert.ErrorIs(t, err, errors.NotFound)
}

func TestRegistry_NamesVersions(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	older, newer := greeterVersion(t, "last_name"), greeterVersion(t, "family_name")
	simulate(t, b, "SRV_two", older)
	simulate(t, b, "SRV_one", newer)
	simulate(t, b, "SRV_three", newer)
	f := newFleet(t, b)

	_, err := f.Registry(t.Context(), "digest.test.Greeter")
	versions, ok := errors.AsType[*VersionsError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, []Version{
		{Digest: digestOf(t, newer), Name: "digest.test.Greeter", WireName: "Greeter", Servers: []string{"SRV_one", "SRV_three"}},
		{Digest: digestOf(t, older), Name: "digest.test.Greeter", WireName: "Greeter", Servers: []string{"SRV_two"}},
	}, versions.Versions)
	assert.ErrorContains(t, err, "digest.test.Greeter has 2 versions: "+digestOf(t, newer).String()+" on SRV_one, SRV_three; ")

	files, err := f.Describe(t.Context(), digestOf(t, older), Comments())
	require.NoError(t, err)
	assert.NotEmpty(t, files.GetFile()[0].GetSourceCodeInfo().GetLocation())
}

// Registry must keep a name on the bus that was set with WithWireName.
func TestRegistry_KeepsTheWireName(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	greeter, err := registry.NewService(greeterVersion(t, "last_name").Descriptor(), registry.WithWireName("Other"))
	require.NoError(t, err)
	simulate(t, b, "SRV_one", greeter)
	reg, err := newFleet(t, b).Registry(t.Context(), "digest.test.Greeter")
	require.NoError(t, err)
	service, ok := reg.Service("digest.test.Greeter")
	require.True(t, ok)
	assert.Equal(t, "Other", service.WireName())
}

// Registry must return an error if a server reports a service with a name that the service's
// descriptors do not declare.
func TestRegistry_ChecksTheName(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	simulate(t, b, "SRV_one", greeterVersion(t, "last_name")).tell.Services[0].Name = "digest.test.Other"
	_, err := newFleet(t, b).Registry(t.Context(), "Greeter")
	assert.ErrorIs(t, err, errors.MalformedResponse)
}

func TestDescribe_ChecksTheDigest(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	greeter := greeterVersion(t, "last_name")
	simulate(t, b, "SRV_one", greeter).wrongFiles = greeterVersion(t, "family_name")
	f := newFleet(t, b)
	_, err := f.Describe(t.Context(), digestOf(t, greeter))
	assert.ErrorIs(t, err, errors.DataLoss)
	_, err = f.Describe(t.Context(), Digest{1})
	assert.ErrorIs(t, err, errors.Unavailable, "no server has these descriptors")
}
