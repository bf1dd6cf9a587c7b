package registry

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoVersions returns source files that contain two versions of a service, and another service that
// has the same short name.
func twoVersions() ([]string, map[string]string) {
	const body = ` message Job { string name = 1; } service Jobs { rpc Get(Job) returns (Job); }`
	sources := map[string]string{}
	var pairs []string
	for _, pkg := range []string{"talent.v1", "talent.v1beta1", "video"} {
		path := strings.ReplaceAll(pkg, ".", "/") + "/jobs.proto"
		sources[path] = `syntax = "proto3"; package ` + pkg + `;` + body
		pairs = append(pairs, path, sources[path])
	}
	return pairs, sources
}

// loadTree contains all ways to load several files into a registry.
var loadTree = map[string]func(t *testing.T, r *Registry, pairs []string) error{
	"ParseProto": func(_ *testing.T, r *Registry, pairs []string) error {
		return r.ParseProto(protos(pairs...), pairs[0], pairs[2], pairs[4])
	},
	"RegisterDescriptorSet": func(t *testing.T, r *Registry, pairs []string) error {
		return r.RegisterDescriptorSet(set(compiled(t, pairs...)...))
	},
	"RegisterLinked": func(t *testing.T, r *Registry, pairs []string) error {
		files := linkedFiles(t)
		for i := 0; i < len(pairs); i += 2 {
			require.NoError(t, files.RegisterFile(linkedSource(t, pairs[i], pairs[i+1])))
		}
		return r.registerLinked(files)
	},
}

func TestWithWireNames_NamesServicesThatAreLoadedTogether(t *testing.T) {
	t.Parallel()
	pairs, _ := twoVersions()
	for label, load := range loadTree {
		err := load(t, New(), pairs)
		require.ErrorIs(t, err, ErrWireNameTaken, label)
		require.ErrorContains(t, err, "name one of them with WithWireNames", label)

		r := New(WithWireNames(map[string]string{"talent.v1beta1.Jobs": "JobsBeta"}), nil,
			WithWireNames(map[string]string{"video.Jobs": "video.Jobs"}))
		require.NoError(t, load(t, r, pairs), label)
		for wireName, name := range map[string]string{"Jobs": "talent.v1.Jobs", "JobsBeta": "talent.v1beta1.Jobs", "video.Jobs": "video.Jobs"} {
			s, ok := r.ServiceByWireName(wireName)
			require.True(t, ok, "%s: %s", label, wireName)
			assert.Equal(t, name, s.String(), label)
		}
	}
}

func TestWithWireNames_OptionsOfACallTakePrecedence(t *testing.T) {
	t.Parallel()
	r := New(WithWireNames(map[string]string{"a.A": "x", "b.B": "y"}))
	a, err := r.Register(simpleFile(t, "a", "A").Services().Get(0))
	require.NoError(t, err)
	assert.Equal(t, "x", a.WireName())
	b, err := r.Register(simpleFile(t, "b", "B").Services().Get(0), WithWireName("z"))
	require.NoError(t, err)
	assert.Equal(t, "z", b.WireName())

	err = New(WithWireNames(map[string]string{"a.A": "a b"})).RegisterFile(simpleFile(t, "a", "A"))
	require.ErrorIs(t, err, ErrInvalidWireName)
}

func TestRegistry_AServiceRegisteredUnderAWireNameStays(t *testing.T) {
	t.Parallel()
	pairs, sources := twoVersions()
	for label, load := range loadTree {
		r := New()
		renamed := map[string]*Service{}
		for path, wireName := range map[string]string{"talent/v1beta1/jobs.proto": "JobsBeta", "video/jobs.proto": "VideoJobs"} {
			s, err := r.Register(linkedSource(t, path, sources[path]).Services().Get(0), WithWireName(wireName))
			require.NoError(t, err, label)
			renamed[s.String()] = s
		}
		require.NoError(t, load(t, r, pairs), label)
		assert.Len(t, r.Services(), 3, label)
		for name, s := range renamed {
			got, _ := r.Service(name)
			assert.Same(t, s, got, label)
		}
	}
}

func TestRegistry_AServiceOfAnotherSchemaIsNotTakenForTheRenamedOne(t *testing.T) {
	t.Parallel()
	pairs, sources := twoVersions()
	for _, changed := range []string{"string name = 2", "string nom = 1", "int32 name = 1", "string name = 1; string more = 2"} {
		for label, load := range loadTree {
			if label == "RegisterLinked" {
				continue // RegisterLinked does not load services with the same name at all
			}
			r := New()
			source := strings.ReplaceAll(sources["talent/v1beta1/jobs.proto"], "string name = 1", changed)
			_, err := r.Register(linkedSource(t, "old.proto", source).Services().Get(0), WithWireName("JobsBeta"))
			require.NoError(t, err)
			require.ErrorIs(t, load(t, r, pairs), ErrAlreadyRegistered, "%s: %s", label, changed)
			assert.Len(t, r.Services(), 1)
		}
	}
}

func TestWithLogger_NilIsTheDefault(t *testing.T) {
	t.Parallel()
	var r Registry
	assert.Equal(t, slog.Default(), r.options.log())
	assert.Equal(t, slog.Default(), New(WithLogger(nil)).options.log())
}

func TestWithMaxSourceSize(t *testing.T) {
	t.Parallel()
	large := header + service + strings.Repeat("// A comment.\n", 1+DefaultMaxSourceSize/14)
	err := New().ParseProto(protos("a.proto", large), "a.proto")
	require.ErrorContains(t, err, "a.proto: larger than 4 MiB; raise the limit with WithMaxSourceSize, or use RegisterDescriptorSet")
	imported := `syntax = "proto3"; import "a.proto"; service T { rpc Call(my.pkg.Req) returns (my.pkg.Res); }`
	err = New().ParseProto(protos("a.proto", large, "b.proto", imported), "b.proto")
	require.ErrorContains(t, err, "descriptor set")
	require.NoError(t, New(WithMaxSourceSize(5<<20)).ParseProto(protos("a.proto", large, "b.proto", imported), "a.proto", "b.proto"))

	small := New(WithMaxSourceSize(len(header)))
	require.ErrorContains(t, small.ParseProto(protos("a.proto", header+service), "a.proto"), "bytes; raise")
	require.NoError(t, New(WithMaxSourceSize(0)).ParseProto(protos("a.proto", header+service), "a.proto"))

	err = New().ParseProto(protos("a.proto", header+service+strings.Repeat(" ", maxLineLength+1)), "a.proto")
	require.ErrorContains(t, err, "descriptor set", "other limits name the remedy, too")
	err = New().ParseProto(protos("a.proto", header+service+strings.Repeat("message M {", maxNesting+1)), "a.proto")
	assert.ErrorContains(t, err, "descriptor set")
}
