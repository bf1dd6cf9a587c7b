package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Digest identifies the descriptors of a service: those in the file that declares the service and
// in all files that this file imports. Servers that serve different versions of a service have
// different digests. The zero value means that the digest is not known.
type Digest [16]byte

// String returns the digest in lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler. The text is that of String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}

// ParseDigest returns the digest for a text of the form that [Digest.String] returns. If the text
// is not 32 hexadecimal digits, ParseDigest returns an error with code invalid_argument.
func ParseDigest(text string) (Digest, error) {
	decoded, err := hex.DecodeString(text)
	if err != nil || len(decoded) != len(Digest{}) {
		return Digest{}, errors.NewErrorf(errors.InvalidArgument, "digest %q: want 32 hexadecimal digits", text)
	}
	return Digest(decoded), nil
}

// DigestOf returns the digest of a service. It is the same however the descriptors were loaded:
// from sources, from a descriptor set or from generated code. Comments, the paths of files and the
// order of imports do not change it. Protobuf's own files and the psrpc options are left out,
// because each program has its own version of them.
func DigestOf(service protoreflect.ServiceDescriptor) (Digest, error) {
	return digestOfFiles(filesOf(service.ParentFile(), false))
}

// digestOfFiles returns the digest of a service that uses these files.
func digestOfFiles(files []*descriptorpb.FileDescriptorProto) (Digest, error) {
	var encodings [][]byte
	for _, file := range files {
		if isBuiltin(file) {
			continue
		}
		encoded, err := canonical(file)
		if err != nil {
			return Digest{}, fmt.Errorf("digest of file %s: %w", file.GetName(), err)
		}
		encodings = append(encodings, encoded)
	}
	slices.SortFunc(encodings, bytes.Compare)
	hash := sha256.New()
	for _, encoded := range encodings {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(encoded))) // A hash returns no errors.
		hash.Write(encoded)
	}
	return Digest(hash.Sum(nil)[:len(Digest{})]), nil
}

// isBuiltin reports whether a file belongs to protobuf or declares the psrpc options.
func isBuiltin(file *descriptorpb.FileDescriptorProto) bool {
	return file.GetPackage() == "google.protobuf" || file.GetPackage() == "psrpc" && len(file.GetService()) == 0
}

// canonical returns an encoding of the declarations in a file. The encoding does not depend on how
// the file was loaded.
func canonical(file *descriptorpb.FileDescriptorProto) ([]byte, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(file)
	if err != nil {
		return nil, err
	}
	// Decoding without a resolver turns all custom options into unknown fields, even those whose
	// generated code is in this program. All programs therefore get the same encoding.
	unlinked := new(descriptorpb.FileDescriptorProto)
	options := proto.UnmarshalOptions{Resolver: new(protoregistry.Types), AllowPartial: true}
	if err := options.Unmarshal(encoded, unlinked); err != nil {
		return nil, err
	}
	unlinked.Name, unlinked.SourceCodeInfo = nil, nil
	unlinked.Dependency, unlinked.PublicDependency, unlinked.WeakDependency, unlinked.OptionDependency = nil, nil, nil, nil
	normalize(unlinked.ProtoReflect())
	return proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(unlinked)
}

// normalize changes a descriptor, and the messages in it, so that descriptors with the same meaning
// become equal. It sorts custom options, and removes default JSON names and empty options.
func normalize(message protoreflect.Message) {
	if field, ok := message.Interface().(*descriptorpb.FieldDescriptorProto); ok {
		// The JSON name of an extension has no meaning.
		if field.GetExtendee() != "" || field.GetJsonName() == defaultJSONName(field.GetName()) {
			field.JsonName = nil
		}
	}
	message.SetUnknown(sortedFields(message.GetUnknown(), 0))
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				normalize(value.List().Get(i).Message())
			}
		default:
			normalize(value.Message())
			if field.Name() == "options" && proto.Size(value.Message().Interface()) == 0 {
				message.Clear(field)
			}
		}
		return true
	})
}

// maxOptionDepth limits the recursion of sortedFields. Messages that are nested more deeply in a
// custom option are not sorted.
const maxOptionDepth = 16

// sortedFields returns encoded fields, sorted by number. Parsers of .proto sources encode the
// fields of a custom option in the order of the source, but protoc in the order of their numbers.
// The types of the fields are unknown here, so everything that can be decoded as a message is
// sorted, too. Text that looks like a message does no harm, because equal text stays equal.
func sortedFields(encoded []byte, depth int) []byte {
	type field struct {
		number  protowire.Number
		encoded []byte
	}
	var fields []field
	for rest := encoded; len(rest) > 0; {
		number, kind, size := protowire.ConsumeField(rest)
		if size < 0 || depth > maxOptionDepth {
			return encoded
		}
		f := field{number, rest[:size]}
		if kind == protowire.BytesType {
			_, _, tagSize := protowire.ConsumeTag(f.encoded)
			value, _ := protowire.ConsumeBytes(f.encoded[tagSize:])
			f.encoded = protowire.AppendBytes(protowire.AppendTag(nil, number, kind), sortedFields(value, depth+1))
		}
		fields = append(fields, f)
		rest = rest[size:]
	}
	slices.SortStableFunc(fields, func(a, b field) int { return int(a.number - b.number) })
	sorted := make([]byte, 0, len(encoded))
	for _, f := range fields {
		sorted = append(sorted, f.encoded...)
	}
	return sorted
}

// defaultJSONName returns the JSON name of a field that does not set one. It is the name with each
// underscore removed and the following letter capitalized.
func defaultJSONName(name string) string {
	var b strings.Builder
	for i, part := range strings.Split(name, "_") {
		if i > 0 && part != "" && part[0] >= 'a' && part[0] <= 'z' {
			part = string(part[0]-'a'+'A') + part[1:]
		}
		b.WriteString(part)
	}
	return b.String()
}
