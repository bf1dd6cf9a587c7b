// Package sendqueue lets one goroutine send what several goroutines want to send at the same time.
//
// A [Queue] does not know what it sends, and starts no goroutine. Its owner passes it the function
// that sends one item.
//
// # Usage
//
//	queue := sendqueue.New(send, onLost)
//	err := queue.Send(item) // from any goroutine
//
// # Ordering and concurrency
//
// The items of one goroutine are sent in the order in which the goroutine calls [Queue.Send]. No
// two items are sent at the same time. Send returns nil for an item that another goroutine sends.
// If sending such an item fails, the queue calls onLost on the goroutine that has tried to send it.
//
// A sender sends at most [MaxQueued] items of other goroutines, plus its own. While that many are
// queued, Send blocks until the sender has finished. This limits the memory of a queue and the time
// for which a goroutine sends for others.
//
// # Why a queue
//
// A nats.Conn has one mutex, which is held during writes to the socket. Many goroutines that
// publish at the same time contend for it. With the queue, they contend only for a mutex that is
// held for a few instructions, and the frames of several goroutines reach the buffer of the
// connection together. In a benchmark, 64 goroutines that called a queue method made 1.8 times as
// many calls per second. The technique is known as flat combining. A goroutine that sends for all
// others would do the same, but would add a switch of goroutines to each call when only one
// goroutine publishes.
package sendqueue
