// Package serve is the engine with which servers of package dynamic serve services on a bus. It
// receives requests, claims them, calls their handlers and sends the responses. It opens streams,
// answers the discovery requests of clients, and replaces, drains and closes services. It handles
// encoded messages: it knows neither the public types of package dynamic nor options, interceptors
// and the Go types of messages. It knows nothing of clients, and package call nothing of it.
//
// A [Config] describes a server, and [New] returns its [Engine]. A [ServiceConfig] describes one
// version of a service, with a [Handler] for each method. [Engine.NewService] turns it into a
// [Service], which [Engine.Start] starts, and [Service.Replace] puts in the place of another
// version. Package dynamic fills these structs: it applies the options, chooses the Go types of
// messages, and wraps the handlers in interceptors. The engine tells it what happens, in an
// [Event], to a [Recorder] or through a [tap.Tap], with types that package dynamic converts to its
// own.
//
// # How a request is handled
//
// The bus passes a frame to an inbound, which has the subscriptions of a method and topic. The
// inbound passes it to the endpoint of the current version of the service. A call or streamRequest
// then waits for a worker. If the client selects one of several servers, the worker sends a claim,
// and the request waits among the pending claims, without a goroutine, until the grant of the
// client arrives. Then a worker calls the handler and sends the response.
//
// # Concurrency
//
// All exported methods are safe for concurrent use, and all functions of a Handler are called
// concurrently. Callbacks of the bus never block: they hand over to the workers of the engine, for
// which Shutdown waits. No lock is held while a handler, a recorder or the bus is called, except
// for the locks that keep changes of a service apart (Engine.drainMu and Service.changeMu).
//
// # Why it is built this way
//
// Everything that a request needs is in the immutable plan of its method, so that handling a
// request looks nothing up. What happens rarely, such as a cancellation or an announcement, is
// looked up in tables instead, so that most requests pay little for it. The engine has no public
// types, because their documentation belongs to package dynamic, and aliases of types would show no
// fields there.
package serve
