// Package natsbus is the bus over core NATS, byte-compatible with psrpc's. Import it for its driver too: bus.Open takes
// nats:// and tls:// once this package is linked.
//
// # Connections
//
// A bus publishes on the connection that it is given, and subscribes there, once for all channels that share a subject.
// It asks the server for a sign of life at intervals (see [WithProbeInterval]) and makes the connection reconnect if
// none comes. While it is disconnected Publish and Subscribe fail at once with code unavailable: a late request is worse
// than none. nats.go subscribes again when it has reconnected. [ConnOptions] are what a connection should be made with.
//
// # URLs
//
// bus.Open makes a connection of its own:
//
//	nats://user:password@host:4222
//	nats://token@host1:4222,host2:4222?name=gateway&prefix=staging.
//	tls://host:4222?tls_ca=ca.pem&creds=user.creds
//
// If there are several servers, and one has a port, the last one must have one. The parameters are
//
//	name                what the server calls the connection, by default dynpsrpc
//	creds, nkey         a file of credentials, a file with an nkey's seed
//	tls_ca              a file with certificates of authorities
//	tls_cert, tls_key   files with the client's certificate and its key
//	tls_first           true: TLS begins before the server's first word
//	connect_timeout     for each attempt to connect, by default 2s
//	inbox_prefix        instead of _INBOX
//	prefix              as WithPrefix
//	subject_per_method  true: as WithSubjectPerMethod
//	probe_interval      as WithProbeInterval
//	pending_limit       as WithPendingLimit
//
// # Nobody listens
//
// The server tells who publishes a message with a reply subject if nobody listens. So a frame whose publisher wants a
// report has a reply subject, below the connection's inbox prefix; others have none. Peers of psrpc's kind take no
// notice. How many listen is not known, and nothing is reported if somebody does.
//
// # Queues
//
// The methods of a service share a subject, and its queued methods share a queue, as psrpc has it: the server may give
// a frame to a process that does not serve its method. Such a process passes it on to the queue, up to 16 times, so
// that processes can begin and stop to serve one method after the other; the frame may then come after later ones. If
// that does not help it is dropped, its publisher is told that nobody listens, and an event says what is wrong. psrpc's
// servers lose such frames without a word. [WithSubjectPerMethod] gives each method a subject of its own, between peers
// that all use it.
//
// # Order and load
//
// All frames are delivered by one goroutine, in the order in which the server sent them, also those of different
// channels. Frames wait for it if the process is busy; see [WithPendingLimit].
package natsbus
