package plugin

import (
	"context"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Loader runs the code of plugins of one sort. It may be used by several hosts, from many goroutines.
type Loader interface {
	// Name is what manifests call the loader.
	Name() string

	// Load starts the code of one version of a plugin and returns when it can serve. It fails, and leaves nothing
	// behind, if the code cannot be run or does not serve what the source says. ctx is for loading only.
	//
	// Until [Code.Close] has returned, the code may call notify, from any one goroutine at a time: with an error when it
	// does not serve for the time being, and with nil when it does again.
	Load(ctx context.Context, source *Source, notify func(err error)) (Instance, error)
}

// Instance is a version of a plugin that has been loaded.
type Instance interface {
	// Services are what the host is to serve with this code: none if it serves by itself.
	Services() []Service

	// Close ends the code. It is called once, when no handler of its services is running any more, save those that go
	// on long after their contexts have ended. Code that serves by itself takes no more requests and finishes those
	// that it has, until ctx ends, and then ends at once.
	Close(ctx context.Context) error
}

// CallCounter is code that counts requests by itself. The host counts those of other code that it serves, which costs next to
// nothing, save for handlers made with [dynamic.Raw]: their messages must be decoded for it.
type CallCounter interface {
	// Counts returns how many requests were handled, and how many of them ended with an error.
	Counts() (handled, failed uint64)
}

// Service is one service of a plugin, as [dynamic.Server.Register] takes it.
type Service struct {
	Descriptor protoreflect.ServiceDescriptor
	Handlers   dynamic.Handlers
	Options    []dynamic.RegisterOption

	// Registered, unless it is nil, is given the registration as soon as the service is served, to register topics and to
	// publish with. It gets another one when a newer version had to be taken back. Topics of the version before are there
	// already, as long as the methods take them; to register them again does no harm. An error of it, as a panic, keeps
	// the version from being served.
	Registered func(registration *dynamic.Registration) error
}
