package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMethod_Accessors(t *testing.T) {
	t.Parallel()
	s := parseService(t, `service S {
		rpc get_region_stats(Req) returns (Res) { option (psrpc.options) = {
			topics: true type: MULTI topic_params: { group: "g" names: ["region", "zone"] single_server: true } }; }
	}`)
	m, ok := s.Method("get_region_stats")
	require.True(t, ok)
	assert.Equal(t, "my.pkg.S/get_region_stats", m.FullName())
	assert.Equal(t, "get_region_stats", m.Name())
	assert.Equal(t, "GetRegionStats", m.WireName())
	assert.Same(t, s, m.Service())
	assert.Equal(t, KindMulti, m.Kind())
	assert.Equal(t, RoutingMulti, m.Routing())
	assert.True(t, m.Topics())
	assert.Equal(t, []string{"region", "zone"}, m.TopicParams())
	assert.Equal(t, 2, m.TopicParts())
	assert.Equal(t, "g", m.Group())
	assert.True(t, m.SingleServer())
	assert.False(t, m.RequireClaim())
	assert.False(t, m.Queue())
	assert.EqualValues(t, "my.pkg.S.get_region_stats", m.Descriptor().FullName())
	assert.EqualValues(t, "my.pkg.Req", m.Input().FullName())
	assert.EqualValues(t, "my.pkg.Res", m.Output().FullName())
	assert.Equal(t, "my.pkg.S/get_region_stats (multi, multi routing, topic region/zone, group g, single server)", m.String())

	m.TopicParams()[0] = "changed"
	assert.Equal(t, []string{"region", "zone"}, m.TopicParams())
}

func TestMethod_String(t *testing.T) {
	t.Parallel()
	s := parseService(t, `service S {
		rpc A(Req) returns (Res);
		rpc B(Req) returns (Res) { option (psrpc.options) = { topics: true stream: true type: AFFINITY }; }
	}`)
	assert.Equal(t, "my.pkg.S/A (single, queue routing)", s.Methods()[0].String())
	assert.Equal(t, "my.pkg.S/B (stream, affinity routing, topic)", s.Methods()[1].String())
}

func TestKind_String(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]string{
		KindSingle: "single", KindMulti: "multi", KindStream: "stream", KindSubscription: "subscription", 9: "kind(9)",
	} {
		assert.Equal(t, want, kind.String())
	}
	for routing, want := range map[Routing]string{
		RoutingQueue: "queue", RoutingAffinity: "affinity", RoutingMulti: "multi", 9: "routing(9)",
	} {
		assert.Equal(t, want, routing.String())
	}
}

func TestMethod_SchemaMistakes(t *testing.T) {
	t.Parallel()
	for label, test := range map[string]struct{ body, want string }{
		"stream and subscription": {
			`service S { rpc A(Req) returns (Res) { option (psrpc.options) = { stream: true subscription: true }; } }`,
			"a.proto:3:13: my.pkg.S/A: stream and subscription are mutually exclusive: remove one of the options",
		},
		"client streaming": {
			`service S { rpc A(stream Req) returns (Res); }`,
			"a.proto:3:13: my.pkg.S/A: the stream keyword is for gRPC: remove it and use option (psrpc.options).stream = true",
		},
		"server streaming": {
			`service S { rpc A(Req) returns (stream Res); }`,
			"a.proto:3:13: my.pkg.S/A: the stream keyword is for gRPC: remove it and use option (psrpc.options).stream = true",
		},
		"empty topic name": {
			`service S { rpc A(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { names: ["a", ""] } }; } }`,
			"a.proto:3:13: my.pkg.S/A: topic parameter 2 has no name",
		},
		"topic name twice": {
			`service S { rpc A(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { names: ["a", "b", "a"] } }; } }`,
			`a.proto:3:13: my.pkg.S/A: topic parameter "a" is duplicated`,
		},
		"wire names collide": {
			"service S { rpc get_it(Req) returns (Res);\n rpc GetIt(Req) returns (Res); }",
			"a.proto:4:2: my.pkg.S/GetIt: has the wire name GetIt, which method get_it already has: rename one of them",
		},
		"group with other names": {
			`service S {
rpc A(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "g" names: ["a"] } }; }
rpc B(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "g" names: ["b"] } }; }
			}`,
			`a.proto:5:1: my.pkg.S/B: is in topic group "g" with method A but has topic parameters ["b"] instead of ["a"]: make them identical`,
		},
		"group with another number of names": {
			`service S {
rpc A(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "g" names: ["a"] } }; }
rpc B(Req) returns (Res) { option (psrpc.options) = { topics: true topic_params { group: "g" } }; }
			}`,
			`a.proto:5:1: my.pkg.S/B: is in topic group "g" with method A but has topic parameters [] instead of ["a"]: make them identical`,
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			err := parseError(test.body)
			require.EqualError(t, err, test.want)
			var schemaError *SchemaError
			require.True(t, errors.As(err, &schemaError))
			assert.Equal(t, "a.proto", schemaError.File)
			assert.NotZero(t, schemaError.Line)
			assert.NotZero(t, schemaError.Column)
			assert.Contains(t, test.want, schemaError.Symbol)
		})
	}
}

func TestMethod_AllMistakesAreReported(t *testing.T) {
	t.Parallel()
	err := parseError(`
		service S { rpc A(stream Req) returns (Res) { option (psrpc.options) = { stream: true subscription: true }; } }
		service T { rpc B(Req) returns (stream Res) { option (psrpc.options) = { topics: true topic_params { names: "" } }; } }`)
	for _, want := range []string{
		"my.pkg.S/A: the stream keyword", "my.pkg.S/A: stream and subscription",
		"my.pkg.T/B: the stream keyword", "my.pkg.T/B: topic parameter 1",
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestMethod_TopicParamsWithoutTopicsMeanNothing(t *testing.T) {
	t.Parallel()
	s := parseService(t, `service S {
		rpc A(Req) returns (Res) { option (psrpc.options) = { topic_params { group: "g" names: ["a", "a"] single_server: true } }; }
		rpc B(Req) returns (Res) { option (psrpc.options) = { topic_params { group: "g" names: ["b"] } }; }
	}`)
	m, _ := s.Method("A")
	assert.False(t, m.Topics())
	assert.Empty(t, m.TopicParams())
	assert.Zero(t, m.TopicParts())
	assert.Empty(t, m.Group())
	assert.Empty(t, s.Groups())
	assert.True(t, m.SingleServer(), "counts without topics too")
	assert.False(t, m.RequireClaim())
}

func TestMethod_UnknownEnumValue(t *testing.T) {
	t.Parallel()
	fd := textFile(t, simpleText("p", "S"), protodesc.FileOptions{})
	file := protodesc.ToFileDescriptorProto(fd)
	file.Service[0].Method[0].Options = rawOptions(message(optionsField, varint(fieldType, 7)))
	err := registerProto(t, file)
	assert.EqualError(t, err, "p.proto: p.S/Call: option (psrpc.options).type has the unknown value 7: "+
		"use QUEUE (0), AFFINITY (1) or MULTI (2)")
}

func TestMethod_MalformedOptions(t *testing.T) {
	t.Parallel()
	file := textProto(t, simpleText("p", "S"))
	file.Service[0].Method[0].Options = rawOptions(message(optionsField, []byte{0x08}))
	err := registerProto(t, file)
	assert.ErrorContains(t, err, "p.proto: p.S/Call: psrpc options are malformed")
}

func TestMethod_UnresolvedTypes(t *testing.T) {
	t.Parallel()
	fd := textFile(t, `name: "p.proto" package: "p" syntax: "proto3" dependency: "gone.proto"
		service { name: "S" method { name: "Call" input_type: ".gone.In" output_type: ".gone.Out" } }`,
		protodesc.FileOptions{AllowUnresolvable: true})
	_, err := NewService(fd.Services().Get(0))
	require.ErrorContains(t, err, "p.proto: p.S/Call: the request type gone.In is not resolved")
	assert.ErrorContains(t, err, "p.proto: p.S/Call: the response type gone.Out is not resolved")
}
