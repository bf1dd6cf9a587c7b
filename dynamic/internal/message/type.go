package message

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Type creates, checks, encodes and decodes messages of one Go type and one message descriptor. Use
// [Resolve] or [EncodeOnly] to create a Type. All methods are safe for concurrent use, provided
// that no goroutine modifies a field at the same time.
type Type struct {
	// The fields that calls use come first, so that they share a cache line. If there are thousands
	// of methods, their data does not fit into the CPU caches, so each call loads it from memory.

	// Decoder is the decoder supplied by the user, or nil if there is none. If it is set, Decode
	// calls it instead of New and proto.Unmarshal. The code that sets Decoder must also set
	// DecodedType.
	Decoder func(encoded []byte) (proto.Message, error)
	// New returns a new, empty message. It is nil in a Type from EncodeOnly.
	New func() proto.Message
	// resolver finds the types of extensions and of messages in google.protobuf.Any. It is nil in a
	// Type from EncodeOnly.
	resolver Resolver
	// static reports whether GoType alone guarantees that a message has the full name Name. If so,
	// Check only has to compare the message with nil.
	static bool
	// noRequired is true if messages never contain required fields. In that case, encoding and
	// decoding skip the search for missing required fields.
	noRequired bool
	// extensible reports whether the message or a nested message may contain extensions. If so,
	// decoding uses resolver to find them.
	extensible bool

	// Name is the full name of the message.
	Name protoreflect.FullName
	// GoType is the type argument of Resolve. It is nil in a Type from EncodeOnly.
	GoType reflect.Type
	// DecodedType is the Go type of the messages returned by Decode. It may differ from GoType if
	// GoType is an interface type.
	DecodedType reflect.Type
	// accepts reports whether a message is of type GoType. It is nil in a Type from EncodeOnly.
	accepts func(message proto.Message) bool
}

// EncodeOnly returns a Type that checks and encodes messages of any Go type. Only the methods
// Check, CheckName and Body may be called on it.
func EncodeOnly(descriptor protoreflect.MessageDescriptor) Type {
	return Type{Name: descriptor.FullName(), noRequired: hasNoRequired(descriptor)}
}

// Check returns an error if message is nil or if its full name is not t.Name. message must be of
// type GoType, if this is set. As everywhere in protobuf, a nil pointer to a generated type counts
// as an empty message.
func (t *Type) Check(message proto.Message) error {
	if t.static && message != nil {
		return nil
	}
	return t.CheckName(message)
}

// CheckName is like Check but accepts a message of any Go type.
func (t *Type) CheckName(message proto.Message) error {
	if message == nil {
		return errors.New("the message is nil")
	}
	if dynamic, ok := message.(*dynamicpb.Message); ok && dynamic == nil {
		return errors.New("the message is nil")
	}
	descriptor := message.ProtoReflect().Descriptor()
	if descriptor == nil {
		return fmt.Errorf("the message is a %T without a type", message)
	}
	if descriptor.FullName() != t.Name {
		return fmt.Errorf("wanted message %s, given %s", t.Name, descriptor.FullName())
	}
	return nil
}

// Convert converts message to a message of type GoType. If message already has this type, Convert
// returns message itself; otherwise it encodes message and decodes it into a new one. It returns an
// error if CheckName, the encoding or the decoding fails.
func (t *Type) Convert(message proto.Message) (proto.Message, error) {
	accepted := message != nil && t.accepts(message)
	if accepted && t.static {
		return message, nil
	}
	if err := t.CheckName(message); err != nil || accepted {
		return message, err
	}
	encoded, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("message %s cannot be encoded: %w", t.Name, err)
	}
	return t.Decode(encoded)
}

// Decode decodes data into a new message. If decoding panics, it returns an error, because a peer
// must not be able to crash the process. For example, protobuf-go v1.36 panics if a map entry of a
// dynamic message contains its key twice with different wire types.
func (t *Type) Decode(data []byte) (message proto.Message, err error) {
	defer func() {
		if value := recover(); value != nil {
			message, err = nil, fmt.Errorf("message %s cannot be decoded: %v", t.Name, value)
		}
	}()
	if message, err = t.unmarshal(data); err != nil {
		return nil, fmt.Errorf("message %s cannot be decoded: %w", t.Name, err)
	}
	return message, nil
}

func (t *Type) unmarshal(data []byte) (proto.Message, error) {
	if t.Decoder != nil {
		return t.Decoder(data)
	}
	message := t.New()
	// Without Merge, Unmarshal would first reset the message, which is already empty.
	options := proto.UnmarshalOptions{Merge: true, AllowPartial: t.noRequired}
	if t.extensible {
		options.Resolver = t.resolver
	}
	return message, options.Unmarshal(data, message)
}

// Body wraps message in a wire.Body, which package wire can encode into a frame. The caller must
// have checked message with Check or CheckName.
func (t *Type) Body(message proto.Message) wire.Body {
	return wire.Body{Message: message, Initialized: t.noRequired}
}

// Encode encodes message, which was decoded from original. If message has not been modified since
// then, Encode returns original, so that the bytes stay exactly the same. Encode returns an error
// if CheckName fails or if a required field is missing.
func (t *Type) Encode(message proto.Message, original []byte) ([]byte, error) {
	if err := t.CheckName(message); err != nil {
		return nil, err
	}
	if unchanged, err := t.Decode(original); err == nil && proto.Equal(unchanged, message) {
		return original, nil
	}
	return proto.Marshal(message)
}
