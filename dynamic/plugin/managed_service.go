package plugin

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

// managedService is one service of a plugin version.
type managedService struct {
	Service

	name     protoreflect.FullName
	wireName string
	// registration is the current registration of the service. It is nil until the service is first
	// served.
	registration *dynamic.Registration
}

// notifyRegistered calls s.Registered if it is not nil.
func (s *managedService) notifyRegistered() error {
	if s.Registered == nil {
		return nil
	}
	if err := guard.Call("Registered", func() error { return s.Registered(s.registration) }); err != nil {
		return errors.NewErrorf(errorCode(err), "service %s: function Registered failed: %w", s.name, err)
	}
	return nil
}
