package fastdecode

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// subject decodes messages of one type with hyperpb and with dynamicpb.
type subject struct {
	descriptor protoreflect.MessageDescriptor
	decode     decoder
	plain      decoder
}

func newSubject(t testing.TB, method string) subject {
	t.Helper()
	return subjectOf(t, requestOf(t, method))
}

func subjectOf(t testing.TB, descriptor protoreflect.MessageDescriptor) subject {
	t.Helper()
	decode, err := newDecoder(descriptor, protoregistry.GlobalTypes)
	require.NoError(t, err)
	return subject{descriptor, decode, recovering(dynamicDecoder(descriptor, protoregistry.GlobalTypes))}
}

func subjects(t testing.TB) []subject {
	t.Helper()
	return []subject{newSubject(t, "Echo"), newSubject(t, "EchoOld"), newSubject(t, "File")}
}

// recovering turns a panic of a decoder into an error, as the server does.
func recovering(decode decoder) decoder {
	return func(encoded []byte) (message proto.Message, err error) {
		defer func() {
			if problem := recover(); problem != nil {
				err = fmt.Errorf("panic: %v", problem)
			}
		}()
		return decode(encoded)
	}
}

// requireSame decodes a message with both decoders and compares the results. It reports whether
// hyperpb was used.
func (s subject) requireSame(t testing.TB, encoded []byte) (fast bool) {
	t.Helper()
	want, wantErr := s.plain(encoded)
	got, err := recovering(s.decode)(encoded)
	if wantErr != nil {
		require.Error(t, err, "%x", encoded)
		return false
	}
	require.NoError(t, err, "%x", encoded)
	if _, plain := got.(*dynamicpb.Message); plain {
		return false
	}
	require.True(t, proto.Equal(want, got), "%x", encoded)
	require.Equal(t, marshal(t, want), marshal(t, got), "%x", encoded)
	requireSameFields(t, want.ProtoReflect(), got.ProtoReflect())
	wantJSON, wantErr := protojson.Marshal(want)
	gotJSON, err := protojson.Marshal(got)
	require.Equal(t, wantErr == nil, err == nil)
	if err == nil { // the results are parsed, because protojson adds random whitespace
		require.JSONEq(t, string(wantJSON), string(gotJSON))
	}
	return true
}

func marshal(t testing.TB, message proto.Message) []byte {
	t.Helper()
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	require.NoError(t, err)
	return encoded
}

// requireSameFields compares all fields of two messages, including fields that are not set.
func requireSameFields(t testing.TB, want, got protoreflect.Message) {
	t.Helper()
	fields := want.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		require.Equal(t, want.Has(field), got.Has(field), field.FullName())
		if oneof := field.ContainingOneof(); oneof != nil {
			require.Equal(t, want.WhichOneof(oneof), got.WhichOneof(oneof), field.FullName())
		}
		wanted, given := want.Get(field), got.Get(field)
		switch {
		case field.IsMap():
			require.Equal(t, wanted.Map().Len(), given.Map().Len(), field.FullName())
		case field.IsList():
			require.Equal(t, wanted.List().Len(), given.List().Len(), field.FullName())
		case field.Message() != nil:
			require.Equal(t, wanted.Message().IsValid(), given.Message().IsValid(), field.FullName())
			if given.Message().IsValid() {
				requireSameFields(t, wanted.Message(), given.Message())
			}
		default:
			require.True(t, wanted.Equal(given), "%s: %v, %v", field.FullName(), wanted, given)
		}
	}
}

// described returns the encoded descriptor of descriptor.proto, which is a large nested message.
// It is a valid request of the method File.
func described(t testing.TB) []byte {
	t.Helper()
	return marshal(t, protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto))
}

func TestDecoder_RandomMessages(t *testing.T) {
	t.Parallel()
	const rounds = 1500
	for i, s := range subjects(t) {
		t.Run(string(s.descriptor.Name()), func(t *testing.T) {
			t.Parallel()
			fast := 0
			for seed := range uint64(rounds) {
				g := newGenerator(seed<<2 + uint64(i))
				encoded := g.message(s.descriptor, g.IntN(5))
				if s.requireSame(t, g.damaged(encoded, g.IntN(2)*g.IntN(4))) {
					fast++
				}
			}
			if supported {
				assert.Greater(t, fast, rounds/50, "nothing was tested")
			}
			t.Logf("%d of %d were decoded the fast way", fast, rounds)
		})
	}
}

func TestDecoder_RandomSchemas(t *testing.T) {
	t.Parallel()
	fast := 0
	for seed := range uint64(100) {
		g := newGenerator(seed)
		s := subjectOf(t, randomMessage(t, g))
		for range 10 {
			encoded := g.message(s.descriptor, g.IntN(5))
			if s.requireSame(t, g.damaged(encoded, g.IntN(2)*g.IntN(4))) {
				fast++
			}
		}
	}
	if supported {
		assert.Greater(t, fast, 100, "nothing was tested")
	}
}

// TestDecoder_BytesThatAreNotForHyperpb checks that dynamicpb decodes messages on which hyperpb
// v0.1.3 panics or returns wrong results.
func TestDecoder_BytesThatAreNotForHyperpb(t *testing.T) {
	t.Parallel()
	newer, old := newSubject(t, "Echo"), newSubject(t, "EchoOld")
	for name, tt := range map[string]struct {
		subject subject
		encoded string
	}{
		"a field cut off in a nested message, and a long one": {newer, "8a010108057affffffff07"},
		"a text and a message of one oneof":                   {newer, "aa0203616263ba02020801"},
		"a number and a message of one oneof":                 {newer, "b002ffffffff0fba02020801"},
		"a number of a oneof with more than 32 bits":          {newer, "b002bdb1fc88f7bd014d7d720b7c"},
		"a text and a short number of one oneof":              {newer, "aa020661c3a961c3a9b00200"},
		"a list of bools that are not 0 or 1":                 {newer, "ca01050001eb0107"},
		"a number longer than it must be":                     {newer, "08818000"},
		"a map of messages":                                   {newer, "820206080112020801820202080282020408021200"},
		"a map's message, cut off":                            {newer, "1002d23e0378797a2829820226121e3095ad9bacdc073d301ae78f61"},
		"a map's entry with another type":                     {newer, "9a02161200120961c3a961c3a961c3a901a4b7eb7ab7cdf885fa0110"},
		"a group that ends nowhere":                           {old, "08013b4035353535013c"},
		"a group of a oneof, twice":                           {old, "08018b0190010a8c018b0190010b8c01"},
		"a text and a group of one oneof":                     {old, "0801a201036162638b0190010a8c01"},
		"a field with a high number":                          {newer, "f8ffffff0f2a"},
		"an extension":                                        {old, "0801a00607"},
		"the end of a group that did not begin":               {newer, "0801140a00"},
		"a field number of 0":                                 {newer, "0001"},
		"a reserved wire type":                                {newer, "0f01"},
		"a tag with more than 32 bits":                        {newer, "88808080808080800101"},
		"no required field":                                   {old, ""},
		"no required field of a nested message":               {old, "08013b4a0210013c"},
		"a text that is not UTF-8":                            {newer, "7202c328"},
		"a list cut off":                                      {newer, "aa010101aa010180"},
		"a list of fixed numbers cut off":                     {newer, "ba010501020304"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoded, err := hex.DecodeString(tt.encoded)
			require.NoError(t, err)
			assert.False(t, tt.subject.requireSame(t, encoded))
		})
	}
}

func TestDecoder_Empty(t *testing.T) {
	t.Parallel()
	newSubject(t, "Echo").requireSame(t, nil)
	newSubject(t, "File").requireSame(t, []byte{})
}

func TestDecoder_Megabytes(t *testing.T) {
	t.Parallel()
	s := newSubject(t, "Echo")
	var encoded []byte
	for i := range 1500 {
		child := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(i))
		child = protowire.AppendString(protowire.AppendTag(child, 14, protowire.BytesType), strings.Repeat("x", i))
		encoded = protowire.AppendBytes(protowire.AppendTag(encoded, 29, protowire.BytesType), child)
	}
	assert.Equal(t, supported, s.requireSame(t, encoded))
}

// TestDecoder_Deep checks messages that are nested up to and beyond the maximum depth of both
// decoders.
func TestDecoder_Deep(t *testing.T) {
	t.Parallel()
	s := newSubject(t, "Echo")
	// The message is written from its end to its start, so that no level copies the levels in it.
	backing := make([]byte, 1<<16)
	start := len(backing)
	depth := 0
	for _, want := range []int{maxDepth - 1, maxDepth, maxDepth + 1, 1001, 10_001} {
		for ; depth < want; depth++ {
			head := protowire.AppendTag(nil, 17, protowire.BytesType)
			head = protowire.AppendVarint(head, uint64(len(backing)-start))
			start -= len(head)
			copy(backing[start:], head)
		}
		assert.Equal(t, supported && want < maxDepth, s.requireSame(t, backing[start:]), "depth %d", want)
	}
}

func FuzzDecoder_Bytes(f *testing.F) {
	subjects := subjects(f)
	f.Add(uint8(0), []byte("\x08\x01\x72\x02hi\x8a\x01\x02\x10\x05"))
	f.Add(uint8(1), []byte("\x08\x01\x3b\x40\x01\x3c"))
	f.Add(uint8(2), described(f)[:500])
	f.Fuzz(func(t *testing.T, which uint8, encoded []byte) {
		subjects[int(which)%len(subjects)].requireSame(t, encoded)
	})
}

func FuzzDecoder_Schemas(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := newGenerator(seed)
		s := subjectOf(t, randomMessage(t, g))
		for range 10 {
			s.requireSame(t, g.damaged(g.message(s.descriptor, g.IntN(6)), g.IntN(2)*g.IntN(4)))
		}
	})
}

func FuzzDecoder_Messages(f *testing.F) {
	subjects := subjects(f)
	f.Add(uint8(0), uint8(0), uint64(1))
	f.Add(uint8(1), uint8(2), uint64(2))
	f.Fuzz(func(t *testing.T, which, damages uint8, seed uint64) {
		s, g := subjects[int(which)%len(subjects)], newGenerator(seed)
		s.requireSame(t, g.damaged(g.message(s.descriptor, g.IntN(6)), int(damages)%8))
	})
}
