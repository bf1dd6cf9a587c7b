package e2e

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// recode copies a message between two Go representations of the same protobuf type.
func recode(from, into proto.Message) error {
	encoded, err := proto.Marshal(from)
	if err != nil {
		return err
	}
	return proto.Unmarshal(encoded, into)
}

// as converts a generated message to the representation M. It returns message itself if M is its
// type, and a dynamic message if M is *dynamicpb.Message or an interface.
func as[M proto.Message](message proto.Message) (M, error) {
	var none M
	if _, same := message.(M); same && any(none) != nil {
		return message.(M), nil
	}
	descriptor, err := parsedMessage(message.ProtoReflect().Descriptor().FullName())
	if err != nil {
		return none, err
	}
	converted := dynamicpb.NewMessage(descriptor)
	if err := recode(message, converted); err != nil {
		return none, err
	}
	return any(converted).(M), nil
}

// from copies a received message of type M into a generated message. If M is an interface, it
// returns an error for a dynamic message. dynpsrpc should then have decoded the message into its
// generated Go type, because this program contains that type.
func from[M proto.Message](message M, into proto.Message) error {
	var none M
	if _, isDynamic := any(message).(*dynamicpb.Message); isDynamic && any(none) == nil {
		return fmt.Errorf("a dynamic message came, though its Go type is linked")
	}
	return recode(message, into)
}
