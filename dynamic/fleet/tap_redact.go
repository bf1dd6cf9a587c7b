package fleet

import (
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/internal/guard"
	"github.com/dynpsrpc/dynpsrpc/internal/redact"
)

// debugRedact is the name of the option that protobuf itself defines for secret fields. It always
// applies.
const debugRedact = "debug_redact"

// maxAnyDepth is the maximum nesting depth of the Any messages whose contents are shown. Each of
// them is decoded and encoded again, so a peer could keep the server busy with thousands of them.
const maxAnyDepth = 4

// redactor removes the values of secret fields from messages. A field is secret if it sets the
// option debug_redact or one of the options in redactor.options.
type redactor struct {
	// options holds the full names of field options, for example "logger.redact".
	options []protoreflect.FullName
	// secret caches for each protoreflect.FieldDescriptor whether the field is secret.
	secret sync.Map
}

func newRedactor(options []string) *redactor {
	r := &redactor{}
	for _, option := range options {
		if option != debugRedact {
			r.options = append(r.options, protoreflect.FullName(option))
		}
	}
	return r
}

// decode decodes a message and removes its secrets. Fields that are not in the descriptor are
// removed too, because it is not known whether they are secret.
func (r *redactor) decode(descriptor protoreflect.MessageDescriptor, encoded []byte) (protoreflect.Message, error) {
	return r.decodeInside(descriptor, encoded, 0)
}

// decodeInside is like decode. depth is the number of Any messages that contain the message.
func (r *redactor) decodeInside(
	descriptor protoreflect.MessageDescriptor, encoded []byte, depth int,
) (protoreflect.Message, error) {
	message := dynamicpb.NewMessage(descriptor)
	// protobuf-go v1.36 panics on some map entries of dynamic messages.
	err := guard.Call("protobuf", func() error {
		return proto.UnmarshalOptions{DiscardUnknown: true, AllowPartial: true}.Unmarshal(encoded, message)
	})
	if err != nil {
		return nil, err
	}
	r.redact(message, descriptor.ParentFile(), depth)
	return message, nil
}

// redact removes the secrets of a message. The types of messages in an Any are looked up in file
// and in what it imports. depth is the number of Any messages that contain the message.
func (r *redactor) redact(message protoreflect.Message, file protoreflect.FileDescriptor, depth int) {
	redactAny := func(message protoreflect.Message) { r.redactAny(message, file, depth) }
	redact.Rules{IsSecret: r.isSecret, Any: redactAny}.Apply(message)
}

// redactAny removes the secrets of the message in an Any. If the type of that message is not known,
// or if it is inside too many others, redactAny removes the whole message.
func (r *redactor) redactAny(message protoreflect.Message, file protoreflect.FileDescriptor, depth int) {
	typeURL, value := message.Descriptor().Fields().ByNumber(1), message.Descriptor().Fields().ByNumber(2)
	name := protoreflect.FullName(message.Get(typeURL).String())
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	if descriptor := findMessage(file, name); descriptor != nil && depth < maxAnyDepth {
		if inner, err := r.decodeInside(descriptor, message.Get(value).Bytes(), depth+1); err == nil {
			if encoded, err := (proto.MarshalOptions{AllowPartial: true}).Marshal(inner.Interface()); err == nil {
				message.Set(value, protoreflect.ValueOfBytes(encoded))
				return
			}
		}
	}
	message.Clear(value)
}

// isSecret reports whether the value of a field must not be shown.
func (r *redactor) isSecret(field protoreflect.FieldDescriptor) bool {
	if known, ok := r.secret.Load(field); ok {
		return known.(bool)
	}
	secret := redact.HasDebugRedact(field)
	if options, ok := field.Options().(*descriptorpb.FieldOptions); ok && options != nil {
		for _, name := range r.options {
			secret = secret || hasOption(options, field.ParentFile(), name)
		}
	}
	r.secret.Store(field, secret)
	return secret
}

// hasOption reports whether an option of a field is set to something other than false, 0 or an
// empty string. file is the file that declares the field.
func hasOption(options *descriptorpb.FieldOptions, file protoreflect.FileDescriptor, name protoreflect.FullName) (set bool) {
	reflected := options.ProtoReflect()
	// Options whose generated code is linked into this program are known fields of FieldOptions.
	reflected.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.FullName() == name {
			set = field.IsList() || field.Message() != nil || !value.Equal(zeroOf(field))
		}
		return !set
	})
	extension := findOption(file, name)
	if set || extension == nil {
		return set
	}
	// Options that are declared only in descriptors loaded at run time are unknown fields of
	// FieldOptions.
	for rest := []byte(reflected.GetUnknown()); len(rest) > 0; {
		number, kind, tagSize := protowire.ConsumeTag(rest)
		if tagSize < 0 {
			return set
		}
		size := protowire.ConsumeFieldValue(number, kind, rest[tagSize:])
		if size < 0 {
			return set
		}
		if number == extension.Number() {
			// The last value counts. Values of a single byte 0 are false, 0 or an empty string.
			value := rest[tagSize : tagSize+size]
			set = len(value) != 1 || value[0] != 0
		}
		rest = rest[tagSize+size:]
	}
	return set
}

// zeroOf returns the zero value of a field that is neither a list nor a map nor a message.
func zeroOf(field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(false)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(nil)
	default:
		return field.Default()
	}
}

// findOption returns the extension with this name from file or from a file that it imports. It
// returns nil if there is none.
func findOption(file protoreflect.FileDescriptor, name protoreflect.FullName) (found protoreflect.ExtensionDescriptor) {
	visitFiles(file, map[string]bool{}, func(file protoreflect.FileDescriptor) bool {
		found = extensionIn(file, name)
		return found == nil
	})
	return found
}

// declaresExtensions is a file or a message: both can define extensions.
type declaresExtensions interface {
	Extensions() protoreflect.ExtensionDescriptors
	Messages() protoreflect.MessageDescriptors
}

func extensionIn(scope declaresExtensions, name protoreflect.FullName) protoreflect.ExtensionDescriptor {
	if e := scope.Extensions().ByName(name.Name()); e != nil && e.FullName() == name {
		return e
	}
	for i := range scope.Messages().Len() {
		if e := extensionIn(scope.Messages().Get(i), name); e != nil {
			return e
		}
	}
	return nil
}

// findMessage returns the message type with this name from file or from a file that it imports. It
// returns nil if there is none.
func findMessage(file protoreflect.FileDescriptor, name protoreflect.FullName) (found protoreflect.MessageDescriptor) {
	visitFiles(file, map[string]bool{}, func(file protoreflect.FileDescriptor) bool {
		found = messageIn(file.Messages(), name)
		return found == nil
	})
	return found
}

func messageIn(messages protoreflect.MessageDescriptors, name protoreflect.FullName) protoreflect.MessageDescriptor {
	for i := range messages.Len() {
		message := messages.Get(i)
		if message.FullName() == name {
			return message
		}
		if nested := messageIn(message.Messages(), name); nested != nil {
			return nested
		}
	}
	return nil
}

// visitFiles calls visit for file and for its direct and indirect imports. If visit returns false,
// visitFiles stops and returns false.
func visitFiles(
	file protoreflect.FileDescriptor, visited map[string]bool, visit func(protoreflect.FileDescriptor) bool,
) bool {
	if visited[file.Path()] {
		return true
	}
	visited[file.Path()] = true
	if !visit(file) {
		return false
	}
	for i := range file.Imports().Len() {
		if !visitFiles(file.Imports().Get(i).FileDescriptor, visited, visit) {
			return false
		}
	}
	return true
}
