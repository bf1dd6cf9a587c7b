// Package dynamic serves and calls the methods of protobuf services over a bus. It reads the
// descriptors of the services at run time, so no generated service code is needed.
//
// # Use
//
// A [Server] serves services. Each service is registered with a descriptor and a map of [Handlers].
// [HandlersOf] makes this map from the methods of a Go type. On the client side, a [Conn] connects
// clients to a bus. A [Client] calls one method through a Conn, with static types. [Bind] makes the
// clients for all methods of a service. [Invoke] calls a method by name, with JSON or any protobuf
// message.
//
// Request and response types can be generated types, *dynamicpb.Message, or proto.Message.
// proto.Message stands for the generated type if the program contains one, and for
// *dynamicpb.Message otherwise. Types are checked against the descriptor when a handler is
// registered or a client is created.
//
// The psrpc options in the .proto file determine how a method is called: by one server of a queue,
// by the server with the highest affinity, by all servers, as a stream, or as a subscription. They
// also determine whether the method has topics. See package registry.
//
// # Index by task
//
// Each item names the functions and types to use. The first name in each item has an example.
//
//   - Serve a service: [Server.Register] with [Unary], or with [Raw] for encoded messages.
//   - Serve a service with the methods of a Go type, for example one that was written for psrpc:
//     [HandlersOf] or [HandlersAs].
//   - Call one server: [Client.Call].
//   - Get functions for all methods of a service, which are called like a generated client: [Bind].
//     Each function has a type like [UnaryFunc] or, if the method has topics, [TopicUnaryFunc].
//   - Call a method that is known only by name: [Invoke], with a message, a map or JSON.
//   - Call every server: [Client.CallMulti]; as an iterator: [Client.Responses]; by name:
//     [InvokeMulti].
//   - Serve only some topics, for example one region: [Registration.RegisterTopic]; call the
//     servers of a topic: [Client.Topic] or [WithTopic].
//   - Let each server rate how well it suits a request: [WithAffinity]; make it an error to forget
//     this: [RequireAffinity].
//   - Change how a client selects the server: [WithSelectionOpts]; ask only some servers:
//     [SelectionOpts.Candidates]; find out which server answered: [WithPeer]; find out how long each
//     phase of a call took: [WithFacts]; find out which servers would handle a request, without
//     running it: [Candidates].
//   - Send metadata: [ContextWithMetadata] or [WithMetadata]; read metadata:
//     [RequestInfoFromContext].
//   - Serve a stream: [Stream].
//   - Open a stream: [Client.OpenStream]; by name: [InvokeStream].
//   - Send many messages quickly on a stream: [WithStreamWindow]; in a handler, wait for their
//     acknowledgements: [Flusher].
//   - Detect that the other side of a stream has vanished: [WithKeepalive].
//   - Subscribe to updates: [Client.Subscribe]; by name: [InvokeSubscribe].
//   - Publish updates: [Registration.Publish] on a server, or [Publish] without one.
//   - Choose which updates a slow subscriber loses: [WithOverflow] with [WithBufferSize] or
//     [WithBufferBytes].
//   - Find out why a call failed: [errors.FactsOf]; find out whether it can safely be retried:
//     [IsUnprocessed].
//   - Limit the load of a server: [WithMaxConcurrentRequests]; of one method: [WithMaxConcurrent].
//   - Replace a service while it is being called: [Registration.Replace].
//   - Shut down on a signal without failed calls: [Server.Shutdown].
//   - Observe calls: [WithRequestHooks] and [WithResponseHooks].
//   - Change, retry or reject calls: [WithClientRPCInterceptors], [WithClientMultiRPCInterceptors],
//     [WithServerRPCInterceptors]; for a single call: [WithRequestInterceptors]; all kinds with one
//     option: [WithInterceptors].
//   - Change or reject the messages of streams: [WithServerStreamInterceptors],
//     [WithClientStreamInterceptors]; for a single stream: [WithRequestStreamInterceptors].
//   - Change or reject updates: [WithSubscriptionInterceptors] and [WithPublishInterceptors].
//
// # Options
//
// Each place that takes options has its own option type: [ServerOption] for [NewServer],
// [ServiceOption] for [Server.Register], [HandlerOption] for [Unary], [Raw] and [Stream],
// [ConnOption] for [NewConn], [RequestOption] for calls, streams, subscriptions and updates,
// [StreamOption] for Send, and [BindOption] for [Bind]. An [Option] configures both sides, and a
// [StreamSetting] either side of a stream. An option for a service can also be passed to NewServer,
// as the default for all services. If an option is set in several places, the most specific place
// takes precedence. If an option makes no sense where it is passed, the program does not compile,
// or Register or NewConn returns an error.
//
// # Ordering and delivery
//
// A bus may lose frames, as message brokers do. If a request or its response is lost, the call ends
// at its timeout at the latest. A queue call ends as early as the selection timeout if no server
// has confirmed the request by then. A client sends a request again only if no server has handled
// it. A server drops a request that the bus delivers a second time within five seconds. A request
// is therefore handled at most once, unless the bus delivers it again later. Calls are independent
// of each other and may be handled in any order.
//
// Messages on a stream arrive in the order in which they were sent, and no message arrives twice.
// Send returns when the other side has accepted the message, or earlier if the stream has a send
// window (see [WithStreamWindow]). Updates that one goroutine publishes on one topic arrive in
// order. Updates from different publishers are not ordered.
//
// When Register, RegisterTopic, NewClient or Subscribe returns, the bus has confirmed the
// subscription.
//
// # Behavior under load
//
// Every request is handled on its own goroutine. [WithMaxConcurrentRequests] and
// [WithMaxConcurrent] limit how many requests are handled at once. A slow consumer does not hold up
// other consumers, because every call, stream and subscription has a bounded buffer. If the buffer
// of a stream is full, its sender waits. If the buffer of a subscription is full, updates are
// dropped and counted; see [WithOverflow].
//
// An in-process call takes about 3 µs and 8 allocations, client and server together.
//
// # Errors
//
// Every error of a call has a code. To get it, use errors.AsType with [errors.ErrorCode], or with
// [errors.Error] for the details as well. The error of a handler keeps its code, text and details.
// An error that arises on the client contains diagnostic facts about the call; see
// [errors.FactsOf]. They say which phase failed and why, how long each phase took, and which
// servers declined the request. If no server receives a request and the bus can detect this, the
// call fails immediately.
//
// # Interceptors
//
// An interceptor wraps calls, streams or updates, for example for logging, metrics, retries or
// access control. [ServerRPCInterceptor] wraps single and multi calls on a server;
// [ClientRPCInterceptor] and [ClientMultiRPCInterceptor] wrap them on a client. [StreamInterceptor]
// wraps streams on both sides. [PublishInterceptor] and [SubscriptionInterceptor] wrap updates.
// Interceptors may replace messages, contexts and errors.
//
// The interceptors of a server enclose those of its services, and the interceptors of a conn
// enclose those of a request. If several interceptors are given, the first one is the outermost.
// For calls and streams on a server, and for subscriptions, the outermost interceptor is nearest to
// the bus. In all other cases, the outermost interceptor is nearest to the caller. Package
// interceptors provides ready-made interceptors.
//
// # Debugging
//
// [Server.Stats], [Conn.Stats] and [Subscription] count what was dropped, by reason. [WithLogger]
// sets the logger for panics, for dropped frames and for frames that cannot be sent. By default,
// servers and conns use the logger of their bus, so that bus.WithLogger sets all of them.
// [WithRequestEvents] sets a handler for what happens to requests before they reach interceptors.
// [WithPanicHook] sets a hook for panics. The statistics and events of a bus describe its
// connection to the broker.
//
// # Testing
//
// Package dynamictest serves a service for the duration of a test, and provides fakes for the
// clients of a program. It uses bus.NewLocal, an in-process bus that needs no broker. This bus
// delivers frames synchronously and starts no goroutines, so tests can run in a testing/synctest
// bubble.
//
// # Concurrency
//
// All types in this package are safe for concurrent use unless their documentation says otherwise.
// When Server.Shutdown or Conn.Close returns nil, the goroutines of the server or conn have ended.
package dynamic
