// Package queue contains the queues between a bus and the goroutine that consumes its frames.
//
// The handler of a bus subscription must not block, because other consumers wait for it. It stores
// an item in a [Mailbox], which is bounded and reports when it is full, and returns. One goroutine
// owns the other end: it waits for the [Wakeup] and then takes all items. A Go channel would do the
// same, but allocates memory for its whole capacity at once; a [FIFO] grows with its content, so
// thousands of mostly empty mailboxes cost little.
package queue
