package plugin

import (
	"context"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Loader runs the code of plugins of one type. A loader must be safe for concurrent use by several
// hosts.
type Loader interface {
	// Name returns the name of the loader. The field loader of a manifest selects the loader by
	// this name.
	Name() string

	// Load starts the code of one version of a plugin and returns when the code is ready to serve.
	// If the code cannot be run, or if it does not serve the services of source, Load returns an
	// error. In that case, Load must first release everything that it has allocated. ctx limits
	// only the load itself; the code keeps running after ctx has ended.
	//
	// The loader calls onHealth with an error when the code temporarily stops serving, and with nil
	// when the code serves again. The loader may call onHealth until [Instance.Close] has returned,
	// but not concurrently.
	Load(ctx context.Context, source *Source, onHealth func(err error)) (Instance, error)
}

// Instance is the loaded code of one version of a plugin.
type Instance interface {
	// Services returns the services that the host must serve with this code. The result is empty if
	// the code has its own connection to the bus and serves without the host.
	Services() []Service

	// Close stops the code. The host calls it once: when the handlers have returned, or 5 seconds
	// after their contexts have ended, whichever is first. Code with its own connection to the bus
	// stops accepting requests and finishes the requests that it has already received. When ctx
	// ends, Close stops the code immediately.
	Close(ctx context.Context) error
}

// CallCounter is implemented by an [Instance] that counts its own requests. For any other Instance,
// the host counts the requests with an interceptor. This costs almost nothing, except for handlers
// created with [dynamic.Raw]: the messages of such a handler must be decoded for the interceptor.
type CallCounter interface {
	// Counts returns how many requests have been handled and how many of them failed.
	Counts() (handled, failed uint64)
}

// Service is one service of a plugin. Descriptor, Handlers and Options are passed to
// [dynamic.Server.Register].
type Service struct {
	Descriptor protoreflect.ServiceDescriptor
	Handlers   dynamic.Handlers
	Options    []dynamic.ServiceOption

	// Registered, if not nil, is called with the service's registration as soon as the service is
	// served. Use Registered to register topics and to publish updates. If this version replaces
	// another one, the topics of the replaced version remain registered, provided that their method
	// still has topics. Registering them again has no effect. If Registered panics or returns an
	// error, the version is not served.
	//
	// If a newer version replaces this one but then cannot be served, this version is served again.
	// Registered is then called again with a new registration.
	Registered func(registration *dynamic.Registration) error
}
