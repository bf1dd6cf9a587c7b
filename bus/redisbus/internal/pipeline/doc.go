// Package pipeline sends commands to Redis, in order and without waiting for the reply to one
// command before the next one is written.
//
// A [Pipeline] owns one connection and sends commands of one kind on it. It does not know what the
// commands mean: a [Command] writes itself and gets its reply. It does not subscribe to channels,
// because replies have another form on a connection that has subscribed. It never repeats a
// command. Whether a repetition is safe depends on the command, so the command decides what to do
// if it is completed with an error.
//
// # Use
//
// [New] returns a pipeline that belongs to a [Session]. The pipeline needs to know whether and why
// the session has ended, and must be able to end it. The owner runs [Pipeline.Run] on a goroutine
// of its own, which returns after the session has ended. Any goroutine sends a command with
// [Pipeline.Send], or adds several with [Pipeline.Enqueue] and then calls [Pipeline.Flush].
//
// # Ordering and concurrency
//
// All methods except Run are safe for concurrent use. The commands of one goroutine are written in
// the order in which they were sent, and Redis replies in the order in which commands were written.
// Each command that Enqueue or Send has accepted is completed exactly once, on the goroutine of
// Run: with its reply, or with an error. A completion must not block, because the following replies
// wait for it.
//
// # Batches
//
// While fewer than two batches are unanswered, callers write their commands themselves, which saves
// waking another goroutine. Further commands wait, and are sent together when a reply has arrived.
// Batches therefore grow with the load, without a timer or a batch size to tune. Three refinements
// matter:
//
//   - While earlier batches show that callers are concurrent, a caller yields the processor once
//     before it writes, so that the commands of the others share its write. Without this, 16
//     concurrent calls to all servers took 1.6 times as long, and 64 concurrent queue calls 1.4
//     times.
//   - On a slow link, two batches per round trip are too few, and commands would wait although
//     Redis is idle. If commands spend half of the time waiting 20 ms or more for a reply, up to 64
//     batches are permitted. After 10 seconds, the first shorter wait restores the limit.
//   - A caller writes at most 32 KiB, for which the send buffer of a socket usually has room.
//     Larger amounts are written by the goroutine of Run, so that a caller does not wait for the
//     network.
//
// # Under load
//
// A limited number of commands wait. If the limit is reached, Enqueue and Send of a required
// pipeline wait until their context ends. On any other pipeline they return [ErrFull], because
// their caller also serves other servers.
//
// # Failures
//
// The connection is checked twice in each probe interval. If the connection is idle, the check
// sends a PING, so that no proxy closes the connection as unused. If Redis replies to nothing for
// one and a half intervals, the connection is given up. After a suspension of the process, this
// time starts again, because replies may be waiting to be read.
//
// If the connection fails, all commands are completed with the error: it is unknown which of them
// Redis has executed. A required pipeline then ends the session. Any other pipeline dials again
// when the next command arrives. After the end of the session, Run waits for the remaining replies
// for up to one probe interval.
//
// # Why the pipelines of go-redis are not used
//
// The pipelines of go-redis hold a connection until all replies have arrived, so the connection is
// idle for a round trip after each batch. They also allocate several objects for each command. With
// this package and package resp, a unary call makes 13 allocations instead of 28, and one
// subscriber receives 751k instead of 434k messages per second. Calls alone would not justify this
// package: with 64 callers, go-redis was as fast.
package pipeline
