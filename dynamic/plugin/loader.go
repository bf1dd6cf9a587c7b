package plugin

import (
	"context"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Loader runs the code of plugins of one type. A loader must be safe for concurrent use by several
// hosts.
type Loader interface {
	// Name returns the name of the loader. A manifest selects the loader by this name, in its
	// loader field.
	Name() string

	// Load starts the code of one version of a plugin and returns when the code is ready to serve.
	// If the code cannot be run or does not serve the services of source, Load releases all
	// resources that it has allocated and returns an error. ctx limits only the load itself; the
	// code keeps running after ctx has ended.
	//
	// The loader calls onHealth with an error when the code temporarily stops serving, and with nil
	// when the code serves again. The loader may call onHealth until [Instance.Close] has returned,
	// but not concurrently.
	Load(ctx context.Context, source *Source, onHealth func(err error)) (Instance, error)
}

// Instance is the loaded code of one version of a plugin.
type Instance interface {
	// Services returns the services that the host must serve with this code. The result is empty if
	// the code itself serves on the bus, without the host.
	Services() []Service

	// Close stops the code. The host calls it once, after the handlers have returned. The host does
	// not wait for handlers that are still running 5 seconds after their contexts have ended. Code
	// that itself serves on the bus stops accepting requests and finishes the requests that it has
	// already received. When ctx ends, Close stops the code immediately.
	Close(ctx context.Context) error
}

// CallCounter is implemented by an [Instance] that counts its own requests. If an Instance does not
// implement it, the host counts the requests that it serves. Counting costs almost nothing, except
// for handlers created with [dynamic.Raw], whose messages must then be decoded for the counting
// interceptor.
type CallCounter interface {
	// Counts returns how many requests have been handled and how many of them failed.
	Counts() (handled, failed uint64)
}

// Service is one service of a plugin. Descriptor, Handlers and Options are passed to
// [dynamic.Server.Register].
type Service struct {
	Descriptor protoreflect.ServiceDescriptor
	Handlers   dynamic.Handlers
	Options    []dynamic.RegisterOption

	// Registered, if not nil, is called with the service's registration as soon as the service is
	// served. Use it to register topics and to publish updates. If a newer version is rolled back,
	// Registered is called again with a new registration. Topics that the previous version has
	// registered remain registered if their method still has topics; registering them again has no
	// effect. If Registered panics or returns an error, the version is not served.
	Registered func(registration *dynamic.Registration) error
}
