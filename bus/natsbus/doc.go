// Package natsbus implements [bus.Bus] over core NATS. Its subjects, queue group and frames are
// byte-compatible with psrpc's NATS bus, so psrpc and dynpsrpc peers interoperate.
//
// # Use
//
// [New] makes a bus on an existing *nats.Conn, which should be made with [ConnOptions]. Several
// buses can share one connection. Subscriptions of one bus to the same subject share a single NATS
// subscription.
//
// Importing the package also registers the nats:// and tls:// drivers of bus.Open, which dials a
// connection that the bus owns and closes:
//
//	nats://user:password@host:4222
//	nats://token@host1:4222,host2:4222?name=gateway&prefix=staging.
//	tls://host:4222?tls_ca=ca.pem&creds=user.creds
//
// If there are several servers and any of them has a port, the last one must have a port. The URL
// parameters are:
//
//	name                connection name shown by the server; default dynpsrpc
//	creds, nkey         credentials file; file with an nkey seed
//	tls_ca              file with CA certificates
//	tls_cert, tls_key   files with the client certificate and its key
//	tls_first           true: TLS handshake before the server's INFO message
//	connect_timeout     limit for each connection attempt; default 2s
//	inbox_prefix        replaces _INBOX
//	prefix              see WithPrefix
//	subject_per_method  true: see WithSubjectPerMethod
//	probe_interval      see WithProbeInterval
//	pending_limit       see WithPendingLimit
//
// # Ordering and delivery
//
// Delivery is at most once, as in core NATS. One goroutine delivers all frames in the order in
// which the server sent them, across channels too.
//
// No responders: the server answers a message that has a reply subject with status 503 if the
// subject has no subscribers. Frames published with a delivery report therefore carry a reply
// subject under the connection's inbox prefix, and the report receives zero receivers when the 503
// arrives. Other frames carry no reply subject. psrpc peers ignore reply subjects. NATS does not
// return the number of receivers, so nothing is reported for a frame that has subscribers.
//
// Queues: psrpc gives all methods of a service one subject, and all its queued methods one queue
// group. The server may therefore pick a process that does not serve the method of a frame. That
// process forwards the frame to the queue group, at most 16 times, so processes can start and stop
// serving methods one at a time without losing frames. A forwarded frame may arrive after later
// frames. After the last attempt the frame is dropped, its publisher gets a no-responders report,
// and a bus.Dropped event gives the cause. psrpc servers drop such frames silently.
// [WithSubjectPerMethod] avoids the forwarding by giving each method its own subject; all peers
// must then use it.
//
// # Load and lost connections
//
// Publish does not wait for the server. Concurrent publishers are batched: one goroutine passes the
// frames of all to nats.go. Publish blocks while the server does not read and the buffers are full;
// [ConnOptions] limits that time. Received frames wait in a bounded queue for the delivering
// goroutine; frames over the limit are dropped and counted, see [WithPendingLimit].
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
// While the bus is disconnected, Publish and Subscribe fail at once with code unavailable, because
// a late request is worse than a failed one. Pending delivery reports receive an error. nats.go
// reconnects and subscribes again; the bus is connected again when the server has answered a PING
// sent after that, which proves that all subscriptions are active. Frames published by others in
// between are lost.
//
// The bus sends a PING at every probe interval and reconnects if the server does not answer, so a
// half-open connection is detected within about two intervals, see [WithProbeInterval].
//
// # Debugging
//
// [Bus.Stats] returns the state and counters of the bus. Connection changes, dropped frames and
// permission errors are reported as events to the handler set by [WithEventHandler]; by default
// they are logged, see [WithLogger]. nats.go reports permission errors asynchronously: Subscribe
// waits for them and returns code permission_denied, while Publish returns nil and the error goes
// to the delivery report and to an event.
//
// # Testing
//
// Tests of programs that use dynpsrpc can run without a broker on bus.NewLocal. Package bustest is
// the conformance suite that this bus and the others pass.
package natsbus
