package validation

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

type clientStream struct {
	dynamic.StreamHandler

	validation
	method *registry.Method
}

// Send validates the message before sending it.
func (s clientStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	if err := s.check("message", s.method, message); err != nil {
		return err
	}
	return s.StreamHandler.Send(message, opts...)
}

type serverStream struct {
	dynamic.StreamHandler

	validation
	method *registry.Method
}

// Recv validates the message before passing it on.
func (s serverStream) Recv(message proto.Message) error {
	if err := s.check("message", s.method, message); err != nil {
		return err
	}
	return s.StreamHandler.Recv(message)
}
