package registry

import (
	"bytes"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// sameService reports whether two services of the same name have the same methods, with the same
// psrpc options and the same messages.
func sameService(a, b *Service) bool {
	if len(a.methods) != len(b.methods) {
		return false
	}
	compared := make(schemaComparison)
	for _, m := range a.methods {
		other, ok := b.byName[m.Name()]
		if !ok || m.String() != other.String() || m.Input().FullName() != other.Input().FullName() ||
			m.Output().FullName() != other.Output().FullName() || !compared.message(m.Input(), other.Input()) ||
			!compared.message(m.Output(), other.Output()) {
			return false
		}
	}
	return true
}

// sameDeclaration reports whether two services of the same name were declared by the same source.
// Unlike sameService, it also compares all options in the files of the services, such as the
// idempotency level of a method and the validation rules of a field.
func sameDeclaration(a, b *Service) bool {
	if !sameService(a, b) {
		return false
	}
	first, err1 := declarations(a.descriptor.ParentFile())
	second, err2 := declarations(b.descriptor.ParentFile())
	return err1 == nil && err2 == nil && bytes.Equal(first, second)
}

// declarations returns an encoding of the declarations in a file. It omits everything that depends
// on how the file was loaded, namely its path, its imports, the source positions and the JSON names
// of fields.
func declarations(fd protoreflect.FileDescriptor) ([]byte, error) {
	file := protodesc.ToFileDescriptorProto(fd)
	file.Name, file.Dependency, file.PublicDependency, file.WeakDependency = nil, nil, nil, nil
	file.SourceCodeInfo = nil
	clearJSONNames(file.GetExtension())
	clearMessageJSONNames(file.GetMessageType())
	return proto.MarshalOptions{Deterministic: true}.Marshal(file)
}

func clearMessageJSONNames(messages []*descriptorpb.DescriptorProto) {
	for _, message := range messages {
		clearJSONNames(message.GetField())
		clearJSONNames(message.GetExtension())
		clearMessageJSONNames(message.GetNestedType())
	}
}

func clearJSONNames(fields []*descriptorpb.FieldDescriptorProto) {
	for _, field := range fields {
		field.JsonName = nil
	}
}
