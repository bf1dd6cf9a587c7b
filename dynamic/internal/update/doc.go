// Package update publishes the updates of subscription methods, and delivers them to subscriptions.
// It encodes and decodes messages, but knows neither interceptors nor the servers, conns and
// clients of package dynamic.
//
// # Use
//
// A [Publisher] publishes the updates of one method. A [Subscription] delivers the updates of one
// method and topic into a channel. [New] creates it from a [Config], and [Subscription.Open]
// subscribes to the bus. If Config.Handle is set, the subscription passes each update to this
// function, which calls [Subscription.Forward] to put the update, or another one, into the channel.
// Package dynamic runs its interceptors there.
//
// # Order and concurrency
//
// Updates are put into the channel in the order in which they arrive. The bus calls the
// subscription on a goroutine that also serves other subscriptions, so this call never blocks. As
// long as the reader keeps up, the call decodes the update and puts it directly into the channel.
// Otherwise, it adds the frame to a backlog, and a second goroutine delivers the backlog. This
// goroutine exists only while there is a backlog. All updates pass through it if Config.Handle is
// set, because that function may block.
//
// # Slow readers
//
// Config.BufferSize and Config.BufferBytes limit the updates that wait for the reader, and
// [Overflow] decides which updates are dropped beyond these limits. A channel allocates its entire
// buffer when it is created, so it holds at most [MaxChannel] updates. Further updates wait in the
// backlog, which allocates memory only when needed. The backlog contains frames rather than
// messages: their memory is known, and frames that are dropped are never decoded.
//
// # End
//
// A subscription ends when it is closed or drained, when its context ends, when the buffer
// overflows with the policy [End], or when Config.Handle returns an error. It always ends on a
// goroutine of its own, because a broker may not answer. The user's channel must not be closed
// while a goroutine sends on it. Therefore, closing the bus subscription first waits for the
// callback of the bus, and closing a gate then waits for all other senders.
package update
