// Package natsbus implements [bus.Bus] over core NATS. Its subjects, queue group and frames are
// byte-compatible with psrpc's NATS bus, so psrpc and dynpsrpc peers interoperate.
//
// # Usage
//
// [New] creates a bus that uses an existing *nats.Conn, which should be created with [ConnOptions].
// Several buses can share one connection. Subscriptions of one bus to the same subject share a
// single NATS subscription.
//
// Importing the package also registers it with bus.Open as the driver for nats:// and tls:// URLs.
// A bus created by bus.Open owns its connection and closes it:
//
//	nats://user:password@host:4222
//	nats://token@host1:4222,host2:4222?name=gateway&prefix=staging.
//	tls://host:4222?tls_ca=ca.pem&creds=user.creds
//
// If the URL contains several servers and any of them has a port, the last one must have a port.
// Otherwise, package net/url rejects the URL. The URL parameters are:
//
//	name                connection name shown by the server (default "dynpsrpc")
//	creds               path of a credentials file
//	nkey                path of a file that contains an nkey seed
//	tls_ca              path of a file that contains CA certificates
//	tls_cert, tls_key   paths of the files that contain the client certificate and its key
//	tls_first           whether the TLS handshake precedes the server's INFO message
//	connect_timeout     time limit for each connection attempt (default 2s)
//	inbox_prefix        prefix of inbox subjects instead of _INBOX
//	prefix              see WithPrefix
//	subject_per_method  if true, enables WithSubjectPerMethod
//	monitor             see WithMonitor; percent-encode the & in its URL
//	probe_interval      see WithProbeInterval
//	pending_limit       see WithPendingLimit
//	max_control_line    see WithMaxControlLine
//
// The parameter wait, for example wait=30s, belongs to [bus.Open], which then waits until NATS is
// reachable.
//
// # Ordering and delivery
//
// Delivery is at most once, as in core NATS. A single goroutine delivers all frames in the order in
// which the server sent them, even across channels.
//
// No responders: if a message has a reply subject but its subject has no subscribers, the server
// answers with status 503. Frames published with a delivery report therefore carry a reply subject
// under the connection's inbox prefix. When the 503 arrives, the report receives zero receivers.
// Other frames carry no reply subject. psrpc peers ignore reply subjects. NATS does not return the
// number of receivers, so nothing is reported for a frame that has subscribers.
//
// Queues: psrpc uses one subject for all methods of a service and one queue group for all its
// queued methods. The server may therefore deliver a frame to a process that does not serve the
// frame's method. For example, a request may reach a process that serves only another method of the
// service. That process forwards the frame to a private subject, which only the dynpsrpc processes
// that serve the method subscribe to. A frame thus reaches a process that serves its method if any
// dynpsrpc process does. If the NATS server denies the private subject, the frame returns to the
// queue group instead. A forwarded frame may arrive after frames that were published later.
//
// If no dynpsrpc process serves the method, psrpc processes may do so. Then the frame returns to
// the queue group, at most 16 times, until it reaches one of them. If it reaches none of them, it
// is dropped, its report receives bus.ErrMisrouted, and a bus.Dropped event describes the cause. If
// the first frames for a method show that no process serves it, later ones are dropped without an
// event. Their reports receive zero receivers. psrpc processes drop all frames whose method they do
// not serve.
//
// Forwarding a frame costs a second delivery. The bus of a publisher therefore sends most requests
// directly to the private subject while frames are misrouted. It does so only if all members of the
// queue group appear to be dynpsrpc processes. Calls then cost about the same as if all members
// served the method. To detect psrpc processes, the bus sends one in 36 requests to the queue
// group, whose dynpsrpc members acknowledge these requests.
//
// For each queued method of a subject, the private subject takes one NATS subscription in addition
// to the shared one. With the option [WithSubjectPerMethod], no frames are misrouted and no private
// subjects are needed, but all peers must use this option.
//
// # Load and lost connections
//
// Publish does not wait for an answer from the server. Concurrent publications are batched: one
// goroutine passes the frames of all publishers to nats.go. Publish blocks while the server is not
// reading and the buffers are full. On a connection created with [ConnOptions], the blocking time
// is limited. Received frames wait in a bounded queue until they are delivered. Frames over the
// limit are dropped and counted; see [WithPendingLimit].
//
// The bus is in one of three states:
//
//	New, server not reached            New, server reached
//	        |                                  |
//	        v         reconnected, PONG        v
//	  disconnected ---------------------> connected
//	        |      <---------------------      |
//	        |      connection lost, closed or  |
//	        |      drained, or server silent   |
//	        |                                  |
//	        +--------------+-------------------+
//	                       | Close
//	                       v
//	                     closed
//
// While the bus is disconnected, Publish and Subscribe fail immediately with code unavailable,
// because a late request is worse than a failed one. Pending delivery reports receive an error.
// nats.go reconnects and renews the subscriptions. After the renewal, the bus sends a PING. The
// server's answer proves that all subscriptions are active, and the bus is connected again. Frames
// that other peers publish before the renewal are lost.
//
// nats.go closes a connection for good if the server reports a protocol error. A bus created by
// bus.Open then dials a new connection. A bus that was created by New emits a Disconnected event
// and closes its Done channel.
//
// The bus sends a PING once per probe interval and reconnects if the server does not answer. A
// half-open connection is therefore detected within about two probe intervals; see
// [WithProbeInterval]. Detection takes four intervals if frames still arrive, and six if more than
// a megabyte is on its way.
//
// # Debugging
//
// [Bus.Stats] returns the state and the counters of the bus. Connection changes, dropped frames and
// permission errors are reported as events to the handler set by [WithEventHandler]. By default,
// events are logged; see [WithLogger]. nats.go reports permission errors asynchronously. Subscribe
// waits for such an error and returns it with code permission_denied. Publish returns nil, and the
// error is passed to the delivery report and reported as an event.
//
// Stats.DroppedBy has these reasons:
//   - MALFORMED: the frame is not an envelope, or its routing key does not match the private
//     subject on which it arrived;
//   - MISROUTED: a queue frame arrived only at processes that do not serve its method, although
//     others may serve it;
//   - FORWARD: the server denied a misrouted frame that this process forwarded, or the connection
//     was lost;
//   - SLOW_CONSUMER: too many frames were waiting for delivery.
//
// # Testing
//
// Programs that use dynpsrpc can be tested without a broker by using bus.NewLocal. Like the other
// buses, this bus passes the conformance tests in package bustest.
package natsbus
