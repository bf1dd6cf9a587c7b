package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The functions varint and message each return one encoded field.
func varint(number protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), value)
}

func message(number protowire.Number, parts ...[]byte) []byte {
	var body []byte
	for _, part := range parts {
		body = append(body, part...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), body)
}

func TestParseMethodOptions_Merge(t *testing.T) {
	t.Parallel()
	name := func(s string) []byte { return message(fieldTopicParams, message(fieldNames, []byte(s))) }
	tests := map[string]struct {
		raw  [][]byte
		want methodOptions
	}{
		"nothing":                 {nil, methodOptions{}},
		"another option":          {[][]byte{varint(33, 1)}, methodOptions{}},
		"empty options":           {[][]byte{message(optionsField)}, methodOptions{present: true}},
		"other wire type":         {[][]byte{varint(optionsField, 1)}, methodOptions{}},
		"inner other wire type":   {[][]byte{message(optionsField, message(fieldStream, []byte{1}))}, methodOptions{present: true}},
		"unknown inner field":     {[][]byte{message(optionsField, varint(77, 1))}, methodOptions{present: true}},
		"any non-zero is true":    {[][]byte{message(optionsField, varint(fieldStream, 1<<40))}, methodOptions{present: true, stream: true}},
		"last value wins":         {[][]byte{message(optionsField, varint(fieldStream, 1), varint(fieldStream, 0))}, methodOptions{present: true}},
		"last old member wins":    {[][]byte{message(optionsField, varint(fieldMulti, 1), varint(fieldQueue, 0))}, methodOptions{present: true, routingOneof: fieldQueue}},
		"occurrences merge":       {[][]byte{message(optionsField, varint(fieldTopics, 1)), varint(33, 1), message(optionsField, varint(fieldType, 2))}, methodOptions{present: true, topics: true, routingType: 2}},
		"old members merge":       {[][]byte{message(optionsField, varint(fieldQueue, 1)), message(optionsField, varint(fieldMulti, 0))}, methodOptions{present: true, routingOneof: fieldMulti}},
		"topic params merge":      {[][]byte{message(optionsField, name("a"), name("b"))}, methodOptions{present: true, topicNames: []string{"a", "b"}}},
		"topic params merge over": {[][]byte{message(optionsField, name("a")), message(optionsField, name("b"))}, methodOptions{present: true, topicNames: []string{"a", "b"}}},
		"groups are skipped":      {[][]byte{{0x0b, 0x08, 0x01, 0x0c}, message(optionsField, varint(fieldTopics, 1))}, methodOptions{present: true, topics: true}},
		"enum is cut to 32 bits":  {[][]byte{message(optionsField, varint(fieldType, 1<<32|1))}, methodOptions{present: true, routingType: 1}},
	}
	for label, test := range tests {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			var raw []byte
			for _, part := range test.raw {
				raw = append(raw, part...)
			}
			got, err := parseMethodOptions(raw)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestParseMethodOptions_Malformed(t *testing.T) {
	t.Parallel()
	for label, raw := range map[string][]byte{
		"cut tag":             {0x80},
		"cut length":          {0xb2, 0x89, 0x01, 0x05, 0x08},
		"field number zero":   {0x00, 0x00},
		"stray group end":     {0x0c},
		"inner cut varint":    message(optionsField, []byte{0x08}),
		"inner cut params":    message(optionsField, []byte{0x1a, 0x04, 0x0a}),
		"params cut":          message(optionsField, message(fieldTopicParams, []byte{0x0a, 0x09})),
		"group no UTF-8":      message(optionsField, message(fieldTopicParams, message(fieldGroup, []byte{0xff}))),
		"topic name no UTF-8": message(optionsField, message(fieldTopicParams, message(fieldNames, []byte{0xff}))),
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			_, err := parseMethodOptions(raw)
			assert.Error(t, err)
		})
	}
}

func TestMethodOptions_Routing(t *testing.T) {
	t.Parallel()
	for _, unknown := range []int32{-1, 3, 256, 257, 1 << 30} {
		_, err := (&methodOptions{routingType: unknown}).routing()
		require.ErrorContains(t, err, "unknown value", unknown)
	}
	for _, test := range []struct {
		options methodOptions
		want    Routing
	}{
		{methodOptions{}, RoutingQueue},
		{methodOptions{routingType: 1}, RoutingAffinity},
		{methodOptions{routingType: 2}, RoutingMulti},
		{methodOptions{routingType: 2, routingOneof: fieldQueue}, RoutingQueue},
		{methodOptions{routingType: 2, routingOneof: fieldAffinityFunc}, RoutingAffinity},
		{methodOptions{routingOneof: fieldMulti}, RoutingMulti},
	} {
		got, err := test.options.routing()
		require.NoError(t, err)
		assert.Equal(t, test.want, got, test.options)
	}
}

func FuzzReadOptions(f *testing.F) {
	f.Add([]byte{})
	f.Add(message(optionsField))
	f.Add(message(optionsField, varint(fieldSubscription, 1), varint(fieldType, 2)))
	f.Add(message(optionsField, varint(fieldMulti, 0), varint(fieldAffinityFunc, 1), varint(fieldQueue, 1)))
	f.Add(message(optionsField, varint(fieldTopics, 1), message(fieldTopicParams,
		message(fieldGroup, []byte("g")), message(fieldNames, []byte("a")), varint(3, 1), varint(fieldSingleServer, 1))))
	f.Add(append(message(optionsField, varint(fieldStream, 1)), message(optionsField, varint(fieldStream, 0))...))
	f.Add([]byte{0xb2, 0x89, 0x01, 0x05, 0x08})
	types := optionsTypes(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parseMethodOptions(raw)
		want, ok := optionsModel(t, types, raw)
		if !ok {
			return
		}
		require.NoError(t, err)
		assert.Equal(t, want, got)
		_, _ = got.routing()
	})
}

// optionsTypes returns a type registry that contains the psrpc options as a dynamic type.
func optionsTypes(tb testing.TB) *protoregistry.Types {
	tb.Helper()
	files, err := parseFiles(testTree("a.proto", header), []string{"a.proto"})
	require.NoError(tb, err)
	extension := files[0].Imports().Get(0).Extensions().ByName("options")
	require.NotNil(tb, extension)
	types := new(protoregistry.Types)
	require.NoError(tb, types.RegisterExtension(dynamicpb.NewExtensionType(extension)))
	return types
}

// optionsModel is a second implementation of the decoder for psrpc options, based on dynamicpb. It
// returns false if the options cannot be decoded.
func optionsModel(t *testing.T, types *protoregistry.Types, raw []byte) (want methodOptions, ok bool) {
	t.Helper()
	decoded := dynamicpb.NewMessage((*descriptorpb.MethodOptions)(nil).ProtoReflect().Descriptor())
	if err := (proto.UnmarshalOptions{AllowPartial: true, Resolver: types}).Unmarshal(raw, decoded); err != nil {
		return want, false
	}
	extension, err := types.FindExtensionByName("psrpc.options")
	require.NoError(t, err)
	if !decoded.Has(extension.TypeDescriptor()) {
		return want, true
	}
	options := decoded.Get(extension.TypeDescriptor()).Message()
	field := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(name))
	}
	want.present = true
	want.subscription = field(options, "subscription").Bool()
	want.topics = field(options, "topics").Bool()
	want.stream = field(options, "stream").Bool()
	want.routingType = int32(field(options, "type").Enum())
	if member := options.WhichOneof(options.Descriptor().Oneofs().ByName("routing")); member != nil {
		want.routingOneof, want.routingOneofValue = member.Number(), options.Get(member).Bool()
	}
	params := field(options, "topic_params").Message()
	want.group = field(params, "group").String()
	want.singleServer = field(params, "single_server").Bool()
	names := field(params, "names").List()
	for i := range names.Len() {
		want.topicNames = append(want.topicNames, names.Get(i).String())
	}
	return want, true
}
