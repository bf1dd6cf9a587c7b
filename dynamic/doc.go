// Package dynamic is the engine: it serves and calls the methods of protobuf services over a bus, driven by
// their descriptors, with no generated stubs.
//
// A [Server] serves any number of services, each registered as a descriptor and a map of [Handlers]. A [Conn]
// is a client's side of a bus, a [Client] one method seen through it, typed; [Invoke] calls a method by name.
// Request and response types may be generated types, *dynamicpb.Message, or proto.Message, which is the linked
// Go type if there is one and dynamic otherwise. They are checked against the descriptor once, when the handler
// is registered or the client is made.
//
// # Errors
//
// Every error of a call has a code: test for it with errors.As and [errors.Error]. An error that a handler
// returned keeps its code, text and details. An error that the client made carries facts about the call, see
// [errors.FactsOf].
//
// # Interceptors
//
// An interceptor is code that calls, streams and updates go through, such as for logging, metrics, retries or access
// control. There is a kind for each kind of method and each side: [ServerRPCInterceptor] for single and multi calls on a
// server; [ClientRPCInterceptor] and [ClientMultiRPCInterceptor] on a client; [StreamInterceptor] on both;
// [PublishInterceptor] and [SubscriptionInterceptor] for updates. They belong to a server, to one of its services, to a
// conn, or to a request; the former are outside of the latter, and of one kind the first given is outermost. Outermost
// is nearest the user on a client, and nearest the bus on a server. What an interceptor puts in place of a message,
// context or error is what is sent and handled. Package interceptors, and those below it, have ready-made ones.
//
// # Concurrency
//
// All types of this package may be used from many goroutines. Every request is handled on a goroutine of its
// own, which Shutdown waits for. What the bus delivers is handed over at once: nothing in here waits for a
// consumer while holding up another.
package dynamic
