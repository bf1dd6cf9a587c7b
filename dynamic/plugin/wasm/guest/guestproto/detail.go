package guestproto

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

// Detail encodes a message as a detail for a [guest.Error]. It returns an error if the message
// cannot be encoded.
func Detail(message proto.Message) (guest.Detail, error) {
	packed, err := anypb.New(message)
	if err != nil {
		return guest.Detail{}, err
	}
	return guest.Detail{TypeURL: packed.GetTypeUrl(), Value: packed.GetValue()}, nil
}
