package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestService_OwnVersionOfASharedMessageCounts(t *testing.T) {
	t.Parallel()
	r := New()
	for _, service := range []string{"A", "B"} {
		require.NoError(t, r.ParseProto(protos(
			"s.proto", `syntax = "proto3"; import "shared.proto"; service `+service+` { rpc Call(Shared) returns (Shared); }`,
			"shared.proto", `syntax = "proto3"; message Shared { int32 of_`+service+` = 1; message In { int32 of_`+service+` = 1; } }`,
		), "s.proto"))
	}
	for _, name := range []string{"A", "B"} {
		s, ok := r.Service(name)
		require.True(t, ok)
		for _, message := range []protoreflect.FullName{"Shared", "Shared.In"} {
			mt, err := s.FindMessageByURL("type.googleapis.com/" + string(message))
			require.NoError(t, err)
			assert.EqualValues(t, "of_"+name, mt.Descriptor().Fields().Get(0).Name())
		}
	}
}

func TestService_FindsExtensionsOfOtherServices(t *testing.T) {
	t.Parallel()
	r := resolvingRegistry(t)
	require.NoError(t, r.ParseProto(protos("d.proto", `syntax = "proto2"; package d;
		message Other { extensions 1 to 9; } service D { rpc Call(Other) returns (Other); }`), "d.proto"))
	s, _ := r.Service("d.D")
	xt, err := s.FindExtensionByNumber("b.Base", 101)
	require.NoError(t, err)
	assert.EqualValues(t, "a.Req.Nested.deep", xt.TypeDescriptor().FullName())
	own, _ := r.Service("a.S")
	require.True(t, r.Remove("a.S"))
	_, err = own.FindExtensionByName("a.Req.Nested.deep")
	assert.NoError(t, err, "a removed service keeps its own types")
}

func TestRegistry_LinkedTypeOfAnotherVersionIsNotUsed(t *testing.T) {
	t.Parallel()
	for label, test := range map[string]struct {
		message string
		linked  bool
	}{
		"the same":         {"int64 seconds = 1; int32 nanos = 2;", true},
		"another field":    {"int64 seconds = 1; int32 nanos = 2; string zone = 3;", false},
		"a field less":     {"int64 seconds = 1;", false},
		"another number":   {"int64 seconds = 1; int32 nanos = 3;", false},
		"another name":     {"int64 seconds = 1; int32 nano = 2;", false},
		"another type":     {"int64 seconds = 1; int64 nanos = 2;", false},
		"another presence": {"int64 seconds = 1; optional int32 nanos = 2;", false},
		"a list":           {"int64 seconds = 1; repeated int32 nanos = 2;", false},
	} {
		r := New()
		require.NoError(t, r.ParseProto(protos(
			"a.proto", `syntax = "proto3"; package google.protobuf; message Duration { `+test.message+` }
				service S { rpc Call(Duration) returns (Duration); }`), "a.proto"), label)
		s, _ := r.Service("google.protobuf.S")
		for _, find := range []func(protoreflect.FullName) (protoreflect.MessageType, error){r.FindMessageByName, s.FindMessageByName} {
			mt, err := find("google.protobuf.Duration")
			require.NoError(t, err, label)
			if test.linked {
				assert.IsType(t, (*durationpb.Duration)(nil), mt.New().Interface(), label)
			} else {
				assert.IsType(t, (*dynamicpb.Message)(nil), mt.New().Interface(), label)
			}
		}
	}
}
