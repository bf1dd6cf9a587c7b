// Package queue contains the queues that connect a bus with the goroutines that consume its frames.
//
// The handler of a bus subscription must not block, because the frames of other consumers have to
// wait until it returns. The handler puts an item into a [Mailbox] and returns; a Mailbox is
// bounded and reports when it is full. A single goroutine reads the mailbox: it waits for the
// [Wakeup] and then takes all items. A Go channel could serve the same purpose, but it allocates
// memory for its entire capacity when it is created. A Mailbox stores its items in a [FIFO], which
// grows with its content. Thousands of mostly empty mailboxes therefore use little memory.
package queue
