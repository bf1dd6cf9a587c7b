// Package stream implements one side of a stream: it sends messages and waits for their
// acknowledgements, receives messages and acknowledges them, closes the stream, and notices when
// the other side is gone. Both sides use the same code, because they exchange the same frames.
//
// The package opens no streams. A client sends the request to open a stream, a server claims the
// request, and both then create a [Stream]. The package also knows no interceptors, options or
// handlers. The code around it passes what is needed in a [Config], and implements the interfaces
// [Owner], [Opener] and [Chain].
//
// # Use
//
// [New] creates a stream, [NewReader] the channel of its received messages, and [Table.Add] makes
// its frames arrive. The goroutine that calls [Stream.Run] delivers the messages until the stream
// has ended. A server then calls [Stream.Accept], which tells the client that the stream is open.
// If one of the steps before Run fails, [Stream.Discard] releases what the stream holds.
//
// # Order and concurrency
//
// Messages arrive in the order in which they were sent. To ensure this, a lock is held while a
// frame is published, and one goroutine delivers all messages of a stream. An acknowledgement is
// sent when its message is in the reader's channel or is about to be put there. While that channel
// is full, no acknowledgements are sent, which slows down the sender. The close frame is the last
// frame of a stream.
//
// Bus callbacks must never block, because their goroutines serve all subscriptions.
// [Table.Dispatch] therefore handles acknowledgements, closes and pings at once, and puts messages
// into a mailbox, from which Run takes them. A message for which the mailbox has no room is dropped
// and counted. Its sender gets an error, because the message is not acknowledged.
//
// The lock for sending is the only one that is held while a frame is published, because a busy bus
// may block the sender while callbacks need the other locks. Keepalive checks and calls to Close
// may run on goroutines of their own; Run waits for them.
//
// # Time
//
// A message contains the times at which it was sent and at which it expires, according to its
// sender's clock. The receiver drops expired messages, because their senders have already reported
// an error. Clocks may be wrong, so the receiver estimates the difference of the clocks from the
// delays of earlier frames. All other times are measured with the monotonic clock, from the start
// of the stream.
package stream
