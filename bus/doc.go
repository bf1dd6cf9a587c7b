// Package bus defines the contract between the RPC engine and a publish/subscribe system, and
// contains the in-process bus.
//
// A [Bus] transports frames: opaque bytes that are published on a [Channel] and delivered to its
// subscribers. [NewLocal] returns a bus for a single process, for tests and for programs without a
// broker. [Open] creates a bus from a URL; drivers register themselves when their package is
// imported, as in database/sql:
//
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // nats://, tls://
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/redisbus" // redis://, rediss:// and others
//
// Applications rarely call Publish and Subscribe: they pass a Bus to a server or a conn of package
// dynamic. The rest of this comment is the contract that implementations fulfil and callers rely
// on. All methods may be called concurrently.
//
// # Delivery
//
// A frame is delivered at most once to each [Broadcast] subscription of its channel, and to at most
// one [Queue] subscription. A bus may lose frames, as brokers do, but it never corrupts, merges or
// truncates them. It may set the routing key in a frame's envelope; otherwise the bytes arrive as
// published.
//
// A queue may drop a frame whose bytes are identical to those of a frame published seconds before:
// Redis peers recognize a frame by its hash. Publishers to a queue therefore make each frame
// unique.
//
// # Readiness
//
// When Subscribe returns, the subscription is live: it receives every frame that is published from
// then on, by any process.
//
// # Ordering
//
// A subscription receives the frames that one goroutine publishes on one channel in the order of
// publication. There is no order between channels or between publishers.
//
// # Behaviour under load
//
// A [Handler] never blocks. It stores the frame in a mailbox, or passes it to a waiting call, and
// returns. The bus may run it on any goroutine, including the publisher's, and several at a time. A
// slow consumer therefore never delays another consumer: its own mailbox fills up.
//
// Publish may wait for space in a bounded queue towards the broker, until its context ends. While
// the broker is known to be unreachable Publish and Subscribe fail at once. A bus does not store
// frames to send them after a reconnect.
//
// # Delivery reports
//
// A bus that knows how many subscriptions received a frame reports the number to the
// [DeliveryReport] passed to Publish; zero means that the channel has no subscribers. A bus that
// does not know reports [Unknown], or nothing.
//
// # Ownership
//
// Publish passes ownership of a frame to the bus. From then on its bytes must not be modified,
// neither by the publisher nor by a receiver, because several receivers may share them. A receiver
// may keep a frame for as long as it likes.
//
// # Close
//
// When Close of a [Subscription] has returned, its handler is not running and does not run again.
// When Close of a Bus has returned, the same is true for all its subscriptions, the goroutines of
// the bus have ended, Done is closed, and Publish and Subscribe fail with [ErrClosed]. Both may be
// called more than once and concurrently; each call waits. Neither may be called from a handler.
//
// # Debugging
//
// Buses with a broker implement [Monitored]. Its counters tell a lost connection (Disconnects),
// frames that never left this process (PublishErrors) and frames lost on the way to it (Dropped)
// apart. Such a bus also reports each disconnect, reconnect and loss as an [Event], to a function
// that the program provides or, without one, to its log. If a call finds no server, compare the
// channel name or NATS subject on both sides first; the repository's docs/wire.md lists them.
//
// # Testing
//
// Tests of services use [NewLocal]: delivery is synchronous, starts no goroutines and needs no
// broker. It differs from a broker in speed, and in that it always knows the number of receivers.
// Tests of an implementation of Bus run the conformance suite in package bustest.
package bus
