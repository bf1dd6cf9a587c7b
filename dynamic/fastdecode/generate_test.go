package fastdecode

import (
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// generator generates random encoded messages, most of which match a given descriptor.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 0))} }

// oneIn returns true with a probability of 1/n.
func (g generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// damaged makes a number of random changes to a message: it replaces a byte, flips a bit or cuts
// off the end.
func (g generator) damaged(encoded []byte, times int) []byte {
	for range times {
		if len(encoded) == 0 {
			return encoded
		}
		at := g.IntN(len(encoded))
		switch g.IntN(3) {
		case 0:
			encoded[at] = byte(g.Uint32())
		case 1:
			encoded[at] ^= 1 << g.IntN(8)
		default:
			encoded = encoded[:at]
		}
	}
	return encoded
}

func (g generator) message(descriptor protoreflect.MessageDescriptor, depth int) (encoded []byte) {
	fields := descriptor.Fields()
	required := descriptor.RequiredNumbers()
	for i := range required.Len() {
		encoded = g.field(encoded, fields.ByNumber(required.Get(i)), depth)
	}
	for range g.IntN(8) {
		encoded = g.field(encoded, fields.Get(g.IntN(fields.Len())), depth)
		if g.oneIn(20) {
			encoded = protowire.AppendTag(encoded, protowire.Number(1+g.IntN(5000)), protowire.BytesType)
			encoded = protowire.AppendString(encoded, "unknown")
		}
	}
	return encoded
}

func (g generator) field(encoded []byte, described protoreflect.FieldDescriptor, depth int) []byte {
	number := described.Number()
	inner := func() []byte {
		if depth == 0 {
			return nil
		}
		return g.message(described.Message(), depth-1)
	}
	switch wireType := g.wireType(described); {
	case described.Kind() == protoreflect.GroupKind:
		encoded = protowire.AppendTag(encoded, number, protowire.StartGroupType)
		return protowire.AppendTag(append(encoded, inner()...), number, protowire.EndGroupType)
	case described.Kind() == protoreflect.MessageKind:
		return protowire.AppendBytes(protowire.AppendTag(encoded, number, wireType), inner())
	case described.IsList() && wireType != protowire.BytesType && !g.oneIn(3):
		var packed []byte
		for range g.IntN(40) {
			packed = g.value(packed, described.Kind(), wireType)
		}
		return protowire.AppendBytes(protowire.AppendTag(encoded, number, protowire.BytesType), packed)
	default:
		return g.value(protowire.AppendTag(encoded, number, wireType), described.Kind(), wireType)
	}
}

// wireType returns the wire type of a field. In one of 200 cases it returns a random one.
func (g generator) wireType(described protoreflect.FieldDescriptor) protowire.Type {
	found := kindOf(described.Kind())
	if g.oneIn(200) {
		found = []valueKind{varint, fixed32, fixed64, textOrBytes}[g.IntN(4)]
	}
	return wireTypes[found]
}

func (g generator) value(encoded []byte, kind protoreflect.Kind, wireType protowire.Type) []byte {
	switch wireType {
	case protowire.BytesType:
		texts := []string{"", "a", "é", "longer than a short one ", "\xff"}
		return protowire.AppendString(encoded, strings.Repeat(texts[g.IntN(4+g.IntN(20)/19)], g.IntN(12)))
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(encoded, g.Uint32())
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(encoded, g.Uint64())
	default:
		return g.varint(encoded, kind)
	}
}

func (g generator) varint(encoded []byte, kind protoreflect.Kind) []byte {
	switch {
	case g.oneIn(100):
		return append(encoded, 0x80|byte(g.IntN(3)), 0x80, 0)
	case kind == protoreflect.BoolKind && !g.oneIn(50):
		return append(encoded, byte(g.IntN(2)))
	default:
		return protowire.AppendVarint(encoded, g.Uint64()>>g.IntN(64))
	}
}
