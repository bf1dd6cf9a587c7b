// Package flush determines what the NATS server has processed by sending PINGs and waiting for the
// PONGs.
//
// NATS processes the commands of a connection in order. When the server has answered a PING, it has
// processed everything that was sent before, and everything that it sent before the PONG has
// arrived. The commands SUB and UNSUB have no reply, so this is how a bus learns that a
// subscription is active or has ended. If the server does not answer, the package reports an error
// and makes nats.go reconnect. The owner decides what the error means for the bus.
//
// # Usage
//
// One goroutine runs [Flusher.Run]. Any goroutine requests a [Flush] and waits for it:
//
//	pending := flusher.Request()
//	select {
//	case <-pending.Done():
//		return pending.Err()
//	case <-closed:
//		return bus.ErrClosed
//	}
//
// The function that Run calls for each flush uses [Flusher.RoundTrip] for the PING. It may do more
// before the flush counts as done, for example wait until all received messages are delivered.
//
// # Ordering and concurrency
//
// All methods are safe for concurrent use, but Run may be called only once. Flushes run one at a
// time. A flush that is returned by [Flusher.Request] begins after the call.
//
// # Why flushes are shared
//
// Each flush serves all callers that have requested one before it began. An RPC server that
// subscribes to thousands of topics at once therefore waits for a few round trips only.
package flush
