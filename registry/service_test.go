package registry

import (
	"testing"

	// Package desc is deprecated, but users may still have descriptors of its types.
	"github.com/jhump/protoreflect/desc" //nolint:staticcheck
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestService_Accessors(t *testing.T) {
	t.Parallel()
	s := parseService(t, `service S {
		rpc z_last(Req) returns (Res);
		rpc B(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "two" } }; }
		rpc A(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "one" } }; }
		rpc C(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "two" } }; }
	}`)
	assert.EqualValues(t, "my.pkg.S", s.Name())
	assert.Equal(t, "my.pkg.S", s.String())
	assert.Equal(t, "S", s.WireName())
	assert.EqualValues(t, "my.pkg.S", s.Descriptor().FullName())
	assert.Equal(t, []string{"z_last", "B", "A", "C"}, names(s.Methods()), "in the order of declaration")
	assert.Equal(t, []string{"one", "two"}, s.Groups())

	two, ok := s.Group("two")
	require.True(t, ok)
	assert.Equal(t, []string{"B", "C"}, names(two))
	_, ok = s.Group("three")
	assert.False(t, ok)
	_, ok = s.Method("ZLast")
	assert.False(t, ok, "methods go by their proto name")

	s.Methods()[0], two[0] = nil, nil
	again, _ := s.Group("two")
	assert.NotNil(t, again[0])
	assert.NotNil(t, s.Methods()[0])
}

func names(methods []*Method) []string {
	var all []string
	for _, m := range methods {
		all = append(all, m.Name())
	}
	return all
}

func TestNewService_WireName(t *testing.T) {
	t.Parallel()
	sd := simpleFile(t, "my.pkg", "my_snake_service").Services().Get(0)
	s, err := NewService(sd)
	require.NoError(t, err)
	assert.Equal(t, "MySnakeService", s.WireName())

	for _, name := range []string{"Other", "my.pkg.Other", "as-it-is", "Ω"} {
		s, err = NewService(sd, WithWireName("x"), nil, WithWireName(name))
		require.NoError(t, err)
		assert.Equal(t, name, s.WireName())
	}
	for _, name := range []string{"", "a b", "a\n", "a.*", "a.>", ".a", "a.", "a..b", "\xff", "\x00"} {
		_, err = NewService(sd, WithWireName(name))
		assert.ErrorContains(t, err, "service my.pkg.my_snake_service: the wire name", "%q", name)
	}
}

func TestNewService_AcceptsWrappedDescriptor(t *testing.T) {
	t.Parallel()
	fd := simpleFile(t, "p", "S")
	wrapped, err := desc.WrapFile(fd)
	require.NoError(t, err)
	s, err := NewService(wrapped.GetServices()[0])
	require.NoError(t, err)
	assert.Equal(t, fd.Services().Get(0), s.Descriptor())
}

// wrapper wraps a service descriptor. NewService must find the descriptor with the method
// UnwrapService.
type wrapper struct {
	sd protoreflect.ServiceDescriptor
}

func (w wrapper) UnwrapService() protoreflect.ServiceDescriptor { return w.sd }

func TestNewService_BadDescriptors(t *testing.T) {
	t.Parallel()
	placeholder := protodesc.ToServiceDescriptorProto(simpleFile(t, "p", "S").Services().Get(0))
	for label, test := range map[string]struct {
		sd   any
		want string
	}{
		"nil":              {nil, "the service descriptor is nil"},
		"nil interface":    {protoreflect.ServiceDescriptor(nil), "the service descriptor is nil"},
		"nil pointer":      {(*desc.ServiceDescriptor)(nil), "the service descriptor is nil"},
		"wrapped nil":      {wrapper{}, "the wrapped service descriptor is nil"},
		"descriptor proto": {placeholder, "*descriptorpb.ServiceDescriptorProto is not a service descriptor: pass a protoreflect.ServiceDescriptor"},
		"file":             {simpleFile(t, "p", "S"), `is a file: pass one of its services, such as file.Services().ByName("S")`},
		"string":           {"my.pkg.S", "string is not a service descriptor"},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			_, err := NewService(test.sd)
			require.ErrorContains(t, err, test.want)
			assert.True(t, errors.Is(err, ErrNoService))
			_, err = New().Register(test.sd)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestNewService_NoMethods(t *testing.T) {
	t.Parallel()
	fd := textFile(t, `name: "p.proto" package: "p" service { name: "S" }`, protodesc.FileOptions{})
	_, err := NewService(fd.Services().Get(0))
	require.EqualError(t, err, "p.proto: p.S: the service declares no methods")
	assert.NoError(t, New().RegisterFile(fd), "only asking for it by itself is a mistake")
}
