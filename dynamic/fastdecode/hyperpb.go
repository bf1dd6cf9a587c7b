//go:build amd64 || arm64

package fastdecode

import (
	"fmt"

	"buf.build/go/hyperpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compile returns a decoder that uses hyperpb. The decoder must be used only for messages that pass
// the filter (see [filter]). hyperpb panics if it cannot compile the message type; compile then
// returns nil.
func compile(request protoreflect.MessageDescriptor) (fast decoder) {
	defer func() {
		if recover() != nil {
			fast = nil
		}
	}()
	messageType := hyperpb.CompileMessageDescriptor(request)
	return func(encoded []byte) (proto.Message, error) { return decode(messageType, encoded) }
}

// decode decodes a request with hyperpb and checks that its required fields are set. decode relies
// on the default setting of hyperpb, which copies the bytes first. Without the copy, hyperpb may
// read a few bytes beyond the end of the request. The race detector reports such a read as a race
// with another goroutine.
func decode(messageType *hyperpb.MessageType, encoded []byte) (message *hyperpb.Message, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("hyperpb panicked: %v", problem)
		}
	}()
	message = hyperpb.NewMessage(messageType)
	if err := message.Unmarshal(encoded); err != nil {
		return nil, err
	}
	return message, message.Initialized()
}
