// Package resp reads and writes the part of the Redis protocol that the bus needs: commands, their
// replies, and the pushes of a pub/sub connection, all in RESP2.
//
// It does not dial, log in or choose a server: go-redis does that, and [NewConn] takes over the
// connection. It neither matches replies with commands nor decides what follows from an error
// reply, but [IsTransient] classifies error replies. It cannot read replies that the bus never
// receives, such as strings and nested arrays. Such a reply, like any invalid input, is an error
// that ends the connection, because the reader no longer knows where the next value begins.
//
// # Use
//
// [WriteCommand] appends a command to a buffered writer. [ReadReply] reads one reply to a command,
// and [ReadPush] reads what Redis sends on a connection that has subscribed to channels. Redis
// sends the two on different connections, so the caller always knows which one comes next. A [Conn]
// has a reader and a writer of its own, and calls a function of its owner before it waits for the
// network.
//
// An error for which [IsError] is true is a reply: Redis has refused one command, or has replied
// nil, and the connection remains usable. After any other error, the connection must be closed.
//
// # Ordering and concurrency
//
// Redis replies to the commands of a connection in the order in which they were written. The
// functions keep no state. One goroutine may read from a connection while another one writes to it.
// Several goroutines must not read at the same time, and must not write at the same time.
//
// # Memory and limits
//
// Writing a command and reading a number allocate no memory. Reading a frame allocates only the
// frame. Its receivers may keep the frame, whereas the name of its channel is only valid until the
// next read. A string may have at most 512 MiB, which is the limit of Redis for a string.
//
// # Why the bus has its own code for this
//
// go-redis reads and writes RESP as well, but it holds a connection until all replies to a pipeline
// have arrived, and allocates several objects for each command and each message. With this package
// and package pipeline, a unary call makes 13 allocations instead of 28 and allocates 1,288 bytes
// instead of 2,490. One subscriber receives 751k messages per second instead of 434k, and ten
// subscribers 1.89M instead of 1.04M, which is 1.4 times the rate of a go-redis client that does
// nothing else. The protocol is small: RESP2 has five kinds of values.
package resp
