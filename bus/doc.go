// Package bus has the contract between the engine and a publish/subscribe system, and the in-process bus.
//
// A [Bus] moves frames: opaque bytes, published on a [Channel] and delivered to those who subscribed to it.
// [NewLocal] is the bus inside one process. [Open] makes a bus from a URL, with drivers that register when they
// are imported, as in database/sql. Anyone can write another Bus: package bustest is the test suite that one must
// pass.
//
// # What a Bus promises
//
// Delivery. A frame is delivered at most once to each plain subscription of its channel, and to one member of
// the channel's queue. Its bytes arrive as published, save that a bus may set the envelope's routing key. A
// bus may lose frames (brokers do); it never invents, mixes or truncates them. To a queue, equal frames that come
// within seconds of each other may be one frame: whoever publishes to a queue makes its frames differ.
//
// Readiness. When Subscribe returns, every frame published from then on, by anyone, is delivered.
//
// Order. Frames that one goroutine publishes on one channel are delivered to a subscription in that order.
// Between channels, or between publishers, there is none.
//
// Back-pressure. A [Handler] function never blocks: it takes the frame over, to a mailbox or to a waiting
// call, and returns. A bus may therefore run it on whatever goroutine it likes, the publisher's own included,
// and several at the same time; there is no place in a bus where one slow consumer could hold up another.
// Publish may wait for room in a bounded queue towards the broker, as long as its context lasts.
//
// Knowledge. A bus that can tell how many subscriptions got a frame says so to the [DeliveryReport] given to Publish,
// and 0 means that nobody listens. A bus that cannot tell says [Unknown], or nothing.
//
// Ownership. A frame belongs to the bus from Publish on, and nobody may change its bytes again: not the
// publisher, not a receiver, of which there may be several. A receiver may keep a delivered frame for ever.
//
// Close. After Close of a subscription has returned, its Deliver function does not run and will not run
// again. After Close of a bus has returned, that holds for all its subscriptions, the goroutines that the bus
// started have ended, Done is closed, and Publish and Subscribe fail with [ErrClosed]. Both may be called more
// than once and by several goroutines; each call waits. Neither may be called from inside a Deliver function.
//
// All methods may be called from many goroutines at the same time.
package bus
