package message

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoimpl"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Resolve returns the Type for messages that have Go type M and are described by descriptor. The
// resolver finds generated Go types, extensions, and the types of messages in google.protobuf.Any.
// Resolve returns an error if M cannot be the Go type of such messages.
func Resolve[M proto.Message](resolver Resolver, descriptor protoreflect.MessageDescriptor) (Type, error) {
	t, err := chooseType[M](resolver, descriptor)
	if err != nil {
		return Type{}, err
	}
	t.GoType = reflect.TypeFor[M]()
	t.complete(resolver, descriptor)
	return t, nil
}

// ResolveGoType is like [Resolve] for a Go type that is known only at run time. goType must be a
// pointer type that implements proto.Message.
func ResolveGoType(resolver Resolver, descriptor protoreflect.MessageDescriptor, goType reflect.Type) (Type, error) {
	zero, ok := reflect.TypeAssert[proto.Message](reflect.Zero(goType))
	if !ok || goType.Kind() != reflect.Pointer {
		return Type{}, fmt.Errorf("%s is not a pointer to a message", goType)
	}
	accepts := func(message proto.Message) bool { return reflect.TypeOf(message) == goType }
	t := Type{Name: descriptor.FullName(), New: newDynamic(descriptor), accepts: accepts}
	if _, isDynamic := zero.(*dynamicpb.Message); !isDynamic {
		messageType, err := concreteMessageType(zero, descriptor)
		if err != nil {
			return Type{}, err
		}
		t.New, t.static = func() proto.Message { return messageType.New().Interface() }, true
		if _, generated := messageType.(*protoimpl.MessageInfo); generated {
			// As in concreteType, reflect.New is faster than messageType.New.
			t.New = func() proto.Message { return reflect.New(goType.Elem()).Interface().(proto.Message) }
		}
	}
	t.GoType = goType
	t.complete(resolver, descriptor)
	return t, nil
}

// complete sets the fields DecodedType, resolver, noRequired and extensible of t. The field New
// must already be set.
func (t *Type) complete(resolver Resolver, descriptor protoreflect.MessageDescriptor) {
	example := t.New()
	t.DecodedType = reflect.TypeOf(example)
	// A generated type has its own descriptor, which may come from another version of the .proto
	// file. Both descriptors are therefore searched for required fields.
	t.noRequired = hasNoRequired(descriptor) && hasNoRequired(example.ProtoReflect().Descriptor())
	t.resolver = resolver
	t.extensible = isExtensible(descriptor) || isExtensible(example.ProtoReflect().Descriptor())
}

// chooseType chooses the Go type that messages are decoded into, by the rules in the package
// documentation.
func chooseType[M proto.Message](resolver Resolver, descriptor protoreflect.MessageDescriptor) (Type, error) {
	var zero M
	switch any(zero).(type) {
	case nil:
		return interfaceType[M](resolver, descriptor)
	case *dynamicpb.Message:
		return newType[M](descriptor, newDynamic(descriptor)), nil
	default:
		return concreteType(zero, descriptor)
	}
}

func newType[M proto.Message](descriptor protoreflect.MessageDescriptor, newMessage func() proto.Message) Type {
	return Type{
		Name:    descriptor.FullName(),
		New:     newMessage,
		accepts: func(message proto.Message) bool { _, ok := message.(M); return ok },
	}
}

// newDynamic returns a function that creates dynamic messages.
func newDynamic(descriptor protoreflect.MessageDescriptor) func() proto.Message {
	return func() proto.Message { return dynamicpb.NewMessage(descriptor) }
}

// interfaceType returns the Type for an interface type M. If the resolver finds a generated type
// for the message, messages are decoded into that type. Otherwise they are decoded into dynamic
// messages. interfaceType returns an error if the chosen type does not implement M.
func interfaceType[M proto.Message](resolver Resolver, descriptor protoreflect.MessageDescriptor) (Type, error) {
	name := descriptor.FullName()
	t := newType[M](descriptor, newDynamic(descriptor))
	if linked, err := resolver.FindMessageByName(name); err == nil {
		t.New = func() proto.Message { return linked.New().Interface() }
	}
	if example := t.New(); !t.accepts(example) {
		return Type{}, fmt.Errorf("%T for message %s is no %s", example, name, reflect.TypeFor[M]())
	}
	return t, nil
}

// concreteType returns the Type for a message type M that is not an interface. M may be, but does
// not have to be, a generated type.
func concreteType[M proto.Message](zero M, descriptor protoreflect.MessageDescriptor) (Type, error) {
	messageType, err := concreteMessageType(zero, descriptor)
	if err != nil {
		return Type{}, err
	}
	t := newType[M](descriptor, func() proto.Message { return messageType.New().Interface() })
	t.static = true
	if _, generated := messageType.(*protoimpl.MessageInfo); generated {
		// reflect.New is faster than messageType.New. The zero value of a generated struct is an
		// empty message.
		structType := reflect.TypeFor[M]().Elem()
		t.New = func() proto.Message { return reflect.New(structType).Interface().(M) }
	}
	return t, nil
}

// concreteMessageType returns the message type of a Go type that is not an interface, given the
// zero value of the Go type. It returns an error if the Go type does not fit the descriptor.
func concreteMessageType(
	zero proto.Message, descriptor protoreflect.MessageDescriptor,
) (protoreflect.MessageType, error) {
	messageType, err := messageTypeOf(zero)
	if err != nil {
		return nil, err
	}
	if given, name := messageType.Descriptor().FullName(), descriptor.FullName(); given != name {
		return nil, fmt.Errorf("wanted message %s, given %T, which is message %s", name, zero, given)
	}
	if example := messageType.New().Interface(); reflect.TypeOf(example) != reflect.TypeOf(zero) {
		return nil, fmt.Errorf("%T is not a message type, it only embeds a %T", zero, example)
	}
	return messageType, nil
}

// messageTypeOf returns the message type of a Go type, given the zero value of the Go type. It
// returns an error if the method ProtoReflect panics. This happens, for example, if zero is a nil
// pointer to a struct that embeds a message.
func messageTypeOf(zero proto.Message) (t protoreflect.MessageType, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%T is no message type generated by protoc-gen-go", zero)
		}
	}()
	return zero.ProtoReflect().Type(), nil
}
