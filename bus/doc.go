// Package bus defines the contract between the RPC runtime (package dynamic) and a
// publish/subscribe system. It also contains the in-process bus.
//
// A [Bus] transports frames. A frame is an opaque byte slice that is published on a [Channel] and
// delivered to the subscribers of that channel. [NewLocal] returns a bus for a single process, for
// use in tests and in programs that need no broker. [Open] creates a bus from a URL. As in
// database/sql, drivers register themselves when their package is imported:
//
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // nats://, tls://
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/redisbus" // redis://, rediss:// and others
//
// Applications rarely call Publish and Subscribe themselves. Instead, they pass a Bus to
// dynamic.NewServer or dynamic.NewConn. The rest of this comment describes the contract that
// implementations must follow and that callers may rely on. All methods are safe for concurrent
// use.
//
// # Delivery
//
// A frame is delivered at most once to each [Broadcast] subscription of its channel, and to at most
// one [Queue] subscription. Like a broker, a bus may lose frames, but it never corrupts, merges or
// truncates them. It may append the channel's Key to the frame, as the NATS bus does. All other
// bytes arrive as published.
//
// A queue may drop a frame if an identical frame was published a few seconds earlier. The reason is
// that, on Redis, the subscribing processes identify a frame by its hash. Publishers must therefore
// make each frame sent to a queue unique.
//
// # Readiness
//
// When Subscribe returns, the subscription is live. The frames that any process publishes from then
// on are delivered to it as described above.
//
// # Ordering
//
// Frames that one goroutine publishes on one channel arrive at each subscription in the order of
// publication. The order of frames from different publishers, or on different channels, is
// undefined.
//
// # Behavior under load
//
// A [Handler] must not block. The handlers of package dynamic store the frame in a consumer's
// mailbox, which is a bounded buffer, or hand it to a waiting call. A slow consumer therefore never
// delays other consumers. Instead, its own mailbox fills up. The bus may run a handler on any
// goroutine, including the publisher's, and may call it from several goroutines at the same time.
//
// The queue of frames to be sent to the broker is bounded. If it is full, Publish may wait for
// space until its context ends. While the broker is known to be unreachable, Publish and Subscribe
// fail immediately. A bus does not keep frames to send after a reconnect.
//
// # Delivery reports
//
// A bus that knows how many subscriptions received a frame passes this number to the
// [DeliveryReport] given to Publish. Zero means that the channel has no subscribers. A bus that
// does not know the number reports [Unknown] or nothing at all.
//
// # Ownership
//
// Publish transfers ownership of the frame to the bus. After the call, neither the publisher nor
// any receiver may modify the bytes, because several receivers may share them. A receiver may keep
// a frame indefinitely.
//
// # Close
//
// Once Close of a [Subscription] has returned, its handler is not running and will not be called
// again. Once Close of a Bus has returned, the same is true for all of its subscriptions. In
// addition, all goroutines of the bus have ended, the Done channel is closed, and Publish and
// Subscribe fail with [ErrClosed]. Both Close methods may be called repeatedly and concurrently,
// and every call waits until closing is complete. Neither of them may be called from a handler.
//
// # Debugging
//
// A bus that connects to a broker implements [Monitored]. Among its counters, Disconnects counts
// lost connections, and PublishErrors counts frames that the broker refused or may not have
// received. Dropped counts frames that were lost between the broker and a handler, and DroppedBy
// counts them by reason. The bus also reports each disconnect, reconnect and loss as an [Event].
// Events go to a handler set by the program or, if there is none, to the log. If a call finds no
// server, first check that client and server use the same channel name or NATS subject. The file
// docs/wire.md in the repository describes both.
//
// # Testing
//
// Use [NewLocal] to test services. It delivers frames synchronously, starts no goroutines and needs
// no broker. Unlike a broker, it always knows the number of receivers, and it is much faster. A
// FaultBus of package bustest loses, delays and duplicates the frames of another bus. To test an
// implementation of Bus, run the conformance tests in package bustest.
package bus
