// Package dynamic is the engine: it serves and calls the methods of protobuf services over a bus. It
// reads the services' descriptors at run time, so there is no generated service code.
//
// # Use
//
// A [Server] serves services, each registered as a descriptor and a map of [Handlers]. A [Conn] is a
// client's side of a bus, and a [Client] calls one method through it, with static types. [Invoke]
// calls a method by its name, with JSON or any protobuf message.
//
// Request and response types may be generated types, *dynamicpb.Message, or proto.Message; the last
// stands for the generated type if the program links one, and for *dynamicpb.Message otherwise. Types
// are checked against the descriptor when the handler is registered or the client is created.
//
// psrpc options in the .proto file decide how a method is called: by one server of a queue, by the
// server with the highest affinity, by all servers, as a stream, or as a subscription; and whether it
// is divided by topic. See package registry.
//
// # Index by task
//
// Each item names what to use. The first name of an item has an example.
//
//   - Serve a service: [Server.Register] with [Unary], or [Raw] for encoded messages.
//   - Call one server: [Client.Call].
//   - Call a method that is known by name only: [Invoke], with a message, a map or JSON.
//   - Call every server: [Client.CallMulti], [Client.Responses] as a sequence, [InvokeMulti] by name.
//   - Serve only some topics, such as a region: [Registration.RegisterTopic]; call them with
//     [Client.Topic] or [WithTopic].
//   - Let each server rate how well it suits a request: [WithAffinity].
//   - Change how a client selects the server: [WithSelectionOpts]; see which one: [WithPeer].
//   - Send metadata: [ContextWithMetadata] or [WithMetadata]; read it: [RequestInfoFromContext].
//   - Serve a stream: [Stream].
//   - Open a stream: [Client.OpenStream], [InvokeStream] by name.
//   - Send many messages fast on a stream: [WithStreamWindow]; in a handler, wait for their
//     acknowledgements: [Flusher].
//   - Detect that the other side of a stream has vanished: [WithKeepalive].
//   - Subscribe to updates: [Client.Subscribe], [InvokeSubscribe] by name.
//   - Publish updates: [Registration.Publish] on a server, [Publish] without one.
//   - Choose what a slow subscriber loses: [WithOverflow] with [WithBufferSize].
//   - Find out why a call failed: [errors.FactsOf]; whether to send it again: [IsUnprocessed].
//   - Limit the load of a server: [WithMaxConcurrentRequests], [WithMaxConcurrent] for one method.
//   - Replace a service while it is called: [Registration.Replace].
//   - Shut down on a signal without failed calls: [Server.Shutdown].
//   - Observe calls: [WithRequestHooks] and [WithResponseHooks].
//   - Change, retry or refuse calls: [WithClientRPCInterceptors], [WithClientMultiRPCInterceptors],
//     [WithServerRPCInterceptors]; one call only: [WithRequestInterceptors].
//   - Change or refuse the messages of streams: [WithServerStreamInterceptors],
//     [WithClientStreamInterceptors]; of one stream: [WithRequestStreamInterceptors].
//   - Change or refuse updates: [WithSubscriptionInterceptors] and [WithPublishInterceptors].
//
// # Ordering and delivery
//
// A bus may lose frames, as brokers do, so a request is handled at most once: if it or its response
// is lost, the call ends at its timeout. A request that a bus delivers twice within five seconds is
// handled once. Calls are independent of each other and may be handled in any order.
//
// Messages of a stream arrive in the order in which they were sent, each at most once. Send returns
// when the other side has taken the message over, or, with a window, before that. Updates that one
// goroutine publishes on one topic arrive in order; updates of different publishers are not ordered.
//
// When Register, RegisterTopic, NewClient or Subscribe returns, the bus has confirmed the
// subscription.
//
// # Behaviour under load
//
// Every request is handled on a goroutine of its own; [WithMaxConcurrentRequests] and
// [WithMaxConcurrent] limit how many run at once. A slow consumer cannot delay others: every call,
// stream and subscription has a bounded buffer. A full stream makes its sender wait. A full
// subscription drops updates and counts them, see [WithOverflow].
//
// A call costs about 3 µs in process and 8 allocations, for client and server together.
//
// # Errors
//
// Every error of a call has a code: test for it with errors.As and [errors.Error]. The error of a
// handler keeps its code, text and details. An error that arises on the client carries facts about
// the call, see [errors.FactsOf]: which phase failed, why, how long each phase took, and which servers
// declined. If no server receives a request, and the bus can tell, the call fails at once.
//
// # Interceptors
//
// An interceptor wraps calls, streams or updates, for logging, metrics, retries or access control.
// [ServerRPCInterceptor] wraps single and multi calls on a server; [ClientRPCInterceptor] and
// [ClientMultiRPCInterceptor] wrap them on a client; [StreamInterceptor] wraps streams on both sides;
// [PublishInterceptor] and [SubscriptionInterceptor] wrap updates. Interceptors may replace messages,
// contexts and errors. Interceptors of a server enclose those of its services, and interceptors of a
// conn enclose those of a request; of several, the first given is outermost. Outermost means nearest
// the caller on a client and nearest the bus on a server. Package interceptors has ready-made ones.
//
// # Debugging
//
// [Server.Stats], [Conn.Stats] and [Subscription] count what was dropped, and why. [WithLogger] sets
// the logger for panics and frames that cannot be sent, [WithPanicHook] a hook for panics. The Stats
// and events of a bus report the state of the connection to the broker.
//
// # Testing
//
// bus.NewLocal is a bus inside the process that needs no broker. It delivers synchronously and starts
// no goroutines, so tests can run in a testing/synctest bubble.
//
// # Concurrency
//
// All types of this package may be used from many goroutines, unless their documentation says
// otherwise. Server.Shutdown and Conn.Close return when the goroutines that they own have ended.
package dynamic
