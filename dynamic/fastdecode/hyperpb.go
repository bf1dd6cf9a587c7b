//go:build amd64 || arm64

package fastdecode

import (
	"fmt"

	"buf.build/go/hyperpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compile returns a decoder for bytes that the filter admits, or nil if hyperpb cannot compile the
// message. hyperpb reports that with a panic.
func compile(request protoreflect.MessageDescriptor) (fast decoder) {
	defer func() {
		if recover() != nil {
			fast = nil
		}
	}()
	messageType := hyperpb.CompileMessageDescriptor(request)
	return func(encoded []byte) (proto.Message, error) { return decode(messageType, encoded) }
}

// decode decodes a request with hyperpb and checks its required fields. It lets hyperpb copy the
// bytes. Without the copy hyperpb may read a few bytes beyond their end, which the race detector
// reports as a read of another goroutine's memory.
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
