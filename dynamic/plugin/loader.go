package plugin

import (
	"context"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Loader runs the code of plugins of one type. Several hosts may use a loader concurrently.
type Loader interface {
	// Name returns the name that manifests have in the field loader.
	Name() string

	// Load starts the code of one version of a plugin and returns when it is ready to serve. It
	// returns an error, and releases everything that it has allocated, if the code cannot be run
	// or does not serve the services of source. ctx bounds the load only, not the code's life.
	//
	// The loader calls onHealth with an error when the code stops serving for now, and with nil
	// when it serves again. It may call onHealth until [Instance.Close] has returned, but not
	// concurrently.
	Load(ctx context.Context, source *Source, onHealth func(err error)) (Instance, error)
}

// Instance is the loaded code of one version of a plugin.
type Instance interface {
	// Services returns the services that the host must serve with this code. It returns none if
	// the code serves on the bus itself.
	Services() []Service

	// Close ends the code. The host calls it once, after the handlers have returned; it does not
	// wait for handlers that keep running long after their contexts have ended. Code that serves
	// on the bus itself stops accepting requests and finishes those that it has received. When ctx
	// ends, Close ends the code at once.
	Close(ctx context.Context) error
}

// CallCounter is implemented by an [Instance] that counts its requests itself. For other code that
// the host serves, the host counts. That costs next to nothing, except for handlers made with
// [dynamic.Raw]: their messages must be decoded for the counting interceptor.
type CallCounter interface {
	// Counts returns the number of requests that were handled, and how many of them failed.
	Counts() (handled, failed uint64)
}

// Service is one service of a plugin. Its fields are the arguments of [dynamic.Server.Register].
type Service struct {
	Descriptor protoreflect.ServiceDescriptor
	Handlers   dynamic.Handlers
	Options    []dynamic.RegisterOption

	// Registered, if not nil, is called with the registration as soon as the service is served. Use
	// it to register topics and to publish. It is called again, with another registration, when a
	// newer version was rolled back. Topics of the previous version are registered already if the
	// method still has topics; registering them again has no effect. If Registered panics or
	// returns an error, the version is not served.
	Registered func(registration *dynamic.Registration) error
}
