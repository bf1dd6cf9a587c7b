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

// Type creates, checks, encodes and decodes the messages of one Go type for one message descriptor.
// [Resolve] and [EncodeOnly] return Types. All methods may be called concurrently as long as no
// field is changed.
type Type struct {
	// Name is the full name of the message.
	Name protoreflect.FullName
	// New returns a new, empty message. It is nil in a Type from EncodeOnly.
	New func() proto.Message
	// GoType is the type parameter of Resolve.
	GoType reflect.Type
	// DecodedType is the Go type of the messages that Decode returns. It differs from GoType if
	// that is an interface.
	DecodedType reflect.Type
	// Decoder replaces New and proto.Unmarshal in Decode. It is nil unless the user supplies a
	// decoder, who then also sets DecodedType.
	Decoder func(encoded []byte) (proto.Message, error)

	// static is true if every message of type GoType has the name Name, so that Check needs to test
	// nothing but nil.
	static bool
	// noRequired is true if messages cannot lack a required field. Encoding and decoding then skip
	// the search for one.
	noRequired bool
	// accepts reports whether a message has the type GoType. It is nil in a Type from EncodeOnly.
	accepts func(message proto.Message) bool
}

// EncodeOnly returns a Type that checks and encodes messages of any Go type. Only its methods
// Check, CheckName and Body may be called.
func EncodeOnly(descriptor protoreflect.MessageDescriptor) Type {
	return Type{Name: descriptor.FullName(), noRequired: hasNoRequired(descriptor)}
}

// Check returns an error if message, which must be of type GoType, is nil or has another name. A
// nil pointer to a generated type is an empty message, as everywhere in protobuf.
func (t *Type) Check(message proto.Message) error {
	if t.static && message != nil {
		return nil
	}
	return t.CheckName(message)
}

// CheckName is Check for a message of any Go type.
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

// Convert returns message as a message of type GoType. It returns message itself if that has the
// type already, or else a copy. It fails like CheckName, and if the copy cannot be encoded or
// decoded.
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

// Decode decodes a new message.
//
// A panic during decoding is returned as an error: protobuf-go v1.36 panics for a dynamic message
// in which the key of a map entry is present twice, with different wire types, and encoded comes
// from the network.
func (t *Type) Decode(encoded []byte) (message proto.Message, err error) {
	defer func() {
		if value := recover(); value != nil {
			message, err = nil, fmt.Errorf("message %s cannot be decoded: %v", t.Name, value)
		}
	}()
	if message, err = t.unmarshal(encoded); err != nil {
		return nil, fmt.Errorf("message %s cannot be decoded: %w", t.Name, err)
	}
	return message, nil
}

func (t *Type) unmarshal(encoded []byte) (proto.Message, error) {
	if t.Decoder != nil {
		return t.Decoder(encoded)
	}
	message := t.New()
	// Merge skips the reset of a message that is empty anyway.
	return message, proto.UnmarshalOptions{Merge: true, AllowPartial: t.noRequired}.Unmarshal(encoded, message)
}

// Body returns message in the form that the frames of package wire contain. message must have
// passed Check or CheckName.
func (t *Type) Body(message proto.Message) wire.Body {
	return wire.Body{Message: message, Initialized: t.noRequired}
}

// Encode encodes a message that was decoded from original. It returns original if the message has
// not changed, which keeps its bytes exactly, in the order of fields that the sender chose. It
// fails like CheckName, and if message lacks a required field.
func (t *Type) Encode(message proto.Message, original []byte) ([]byte, error) {
	if err := t.CheckName(message); err != nil {
		return nil, err
	}
	if unchanged, err := t.Decode(original); err == nil && proto.Equal(unchanged, message) {
		return original, nil
	}
	return proto.Marshal(message)
}
