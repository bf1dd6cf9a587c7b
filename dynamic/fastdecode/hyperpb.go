//go:build amd64 || arm64

package fastdecode

import (
	"fmt"

	"buf.build/go/hyperpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compile returns nil if hyperpb cannot do it, which it says by a panic. The decoder is for admitted bytes only.
func compile(request protoreflect.MessageDescriptor) (fast decoder) {
	defer func() {
		if recover() != nil {
			fast = nil
		}
	}()
	messageType := hyperpb.CompileMessageDescriptor(request)
	return func(encoded []byte) (proto.Message, error) { return decode(messageType, encoded) }
}

// decode lets hyperpb copy the bytes: where it does not, it may read a little beyond their end, which is another
// goroutine's memory to the race detector.
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
