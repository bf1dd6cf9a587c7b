// Package serve is the engine with which servers of package dynamic serve services on a bus. It
// receives requests, claims them, calls their handlers and sends the responses. It opens streams,
// answers the discovery requests of clients, and replaces, drains and closes services. It handles
// encoded messages: it knows neither the public types of package dynamic nor options, interceptors
// and the Go types of messages. This package and package call, the client side, do not import each
// other.
//
// A [Config] describes a server, and [New] returns its [Engine]. A [ServiceConfig] describes one
// version of a service, with a [Handler] for each method. [Engine.NewService] turns a ServiceConfig
// into a [Service]. [Engine.Start] starts a Service, and [Service.Replace] replaces another version
// by it. Package dynamic fills these structs: it applies the options, chooses the Go types of
// messages, and wraps the handlers in interceptors. The engine reports what happens in three ways:
// it calls ServiceConfig.OnEvent with an [Event], and notifies a [Recorder] and a [tap.Tap].
// Package dynamic converts their types to its own.
//
// # How a request is handled
//
// The bus passes a frame to an inbound, which has the subscriptions of a method and topic. The
// inbound passes it to the endpoint of the current version of the service. A call or streamRequest
// then waits for a worker. If the client selects one of several servers, the worker first sends a
// claim. The request then waits, without a goroutine, among the pending claims until the client's
// grant arrives. Finally, a worker calls the handler and sends the response.
//
// # Concurrency
//
// All exported methods are safe for concurrent use, and all functions of a Handler are called
// concurrently. Callbacks of the bus never block: they pass the work to the workers of the engine,
// for which Shutdown waits. No lock is held while a handler, a recorder or the bus is called. The
// exceptions are Engine.drainMu and Service.changeMu, which serialize changes of a service.
//
// # Why it is built this way
//
// Everything that a request needs is in the immutable plan of its method, so that no look-ups are
// needed while a request is handled. What happens rarely, such as a cancellation or an
// announcement, is looked up in tables instead, so that most requests pay little for it. Package
// dynamic declares the public types itself instead of aliasing types of this package, because the
// documentation of an alias shows no fields.
package serve
