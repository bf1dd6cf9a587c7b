package plugin

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

// managedService is one service of a version.
type managedService struct {
	Service

	name     protoreflect.FullName
	wireName string
	// registration is nil until the service is served.
	registration *dynamic.Registration
}

// notifyRegistered calls the code's function Registered, if it has one.
func (s *managedService) notifyRegistered() error {
	if s.Registered == nil {
		return nil
	}
	if err := guard.Call("Registered", func() error { return s.Registered(s.registration) }); err != nil {
		return errors.NewErrorf(errorCode(err), "service %s: function Registered failed: %w", s.name, err)
	}
	return nil
}
