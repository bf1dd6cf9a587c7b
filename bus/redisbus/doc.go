// Package redisbus implements a bus over Redis pub/sub. It is byte-compatible with psrpc: psrpc and
// dynpsrpc processes can call each other through the same Redis server or cluster. The package
// works with a single server, with Sentinel and with Cluster.
//
// # Use
//
// [New] creates a bus from a go-redis client. The caller keeps ownership of the client and closes
// it after closing the bus. Importing the package also registers drivers with bus.Open for the
// following URLs. A bus opened from a URL creates and closes its own client.
//
//	redis://user:password@host:6379/0
//	redis-sentinel://host1:26379,host2:26379/0?master_name=mymaster
//	redis-cluster://user:password@host1:6379,host2:6379
//	unix://user:password@/run/redis.sock?db=0
//
// If the scheme begins with rediss instead of redis, as in rediss-cluster://, the connections use
// TLS. The names valkey and valkeys can stand for redis and rediss, and redis+unix and valkey+unix
// for unix. These URL parameters set options of the bus and of TLS:
//
//	prefix           see WithPrefix
//	probe_interval   see WithProbeInterval, for example 3s
//	connect_timeout  see WithConnectTimeout
//	publish_queue    see WithPublishQueue
//	max_frame_size   see WithMaxFrameSize, in bytes
//	sharded          if true, enables WithShardedPubSub
//	tls_ca           file with the certificates of the authorities that the bus trusts
//	tls_cert         file with the certificate of the bus; its key is needed too
//	tls_key          file with the private key of that certificate
//
// The parameter wait, for example wait=30s, belongs to [bus.Open], which then waits until Redis is
// reachable.
//
// All other parameters are passed to go-redis, for example dial_timeout, skip_verify and
// client_name. In a Sentinel URL, the user and password before the host are used for the sentinels,
// as are the parameters sentinel_username and sentinel_password. Use the parameters username and
// password for the Redis servers. Passwords must be percent-encoded wherever they appear in a URL.
//
// If Redis uses ACLs, the user of the bus needs access to the channels of the services. If the bus
// uses queues, the user also needs access to the keys of locks, which are hashes. The commands that
// a psrpc process needs are enough. See docs/brokers.md in the repository for the rules.
//
// # Ordering and delivery
//
// Frames are sent in the order in which they were published. Redis delivers each frame at most once
// to each process. Frames published while a subscriber's connection is down are lost.
//
// Redis replies to each published frame with the number of connections to which it was sent, and
// the bus passes this number to the bus.DeliveryReport. Zero means that there are no subscribers.
// Redis also counts clients that subscribe to patterns. While there are such observers, the bus
// asks for the number of subscribers with PUBSUB NUMSUB before it publishes a frame. In a Cluster
// without sharded pub/sub, Redis counts only the connections to one node, so the report receives
// bus.Unknown instead.
//
// Redis sends each queue frame to every process that has a subscriber for the queue. As in psrpc,
// each process then tries to take a lock on the frame with SET key value EX seconds NX. The key is
// the base64 encoding of the frame's SHA-256 hash. Redis grants the lock to only one process, and
// this process delivers the frame. A dynpsrpc client that knows all servers of a queue sends most
// requests to one of them instead, without a lock; see bus.Competing.
//
// A process may be suspended for some time, for example together with its virtual machine. When it
// resumes, it reads the frames that arrived in the meantime. The locks on these frames must still
// exist, so they live longer than in psrpc. The lock on a request expires five seconds after
// the request's timeout, but after ten minutes at most. The lock on an update to a queue expires
// after one minute if a dynpsrpc process has published the update. All other locks expire after five
// seconds, as in psrpc. So do all locks of psrpc processes. A lock occupies about 150 bytes of Redis's memory.
//
// The use of locks has four consequences:
//
//   - Two identical frames published within five seconds are treated as one. Publishers must
//     therefore make each queue frame unique. Requests sent by psrpc and dynpsrpc are unique
//     because they contain a request ID.
//   - All processes must select the same database, because the locks are keys in it.
//   - Frames are not distributed evenly. The process closest to Redis may receive a whole burst.
//     Locks are taken in small batches to give the other processes a chance. psrpc processes ask
//     for one lock after the other. If psrpc processes serve a queue, a process of this bus takes
//     only its share of the queue's frames: it waits up to 100 ms before it takes more. To find
//     psrpc processes, each dynpsrpc process that competes for the frames of a queue also
//     subscribes to a marker channel. The name of this channel is that of the queue's channel with
//     the suffix |MARKER. If PUBSUB NUMSUB shows that the marker channel has fewer subscribers
//     than the queue's channel, there are psrpc processes. The bus then reads the values of locks
//     with GET to find out whether these processes take any frames. If Redis denies one of these
//     commands or the marker channel, the bus logs a warning and no longer limits itself to its
//     share.
//   - A subscriber that is being closed still receives the frames that its process has already
//     locked.
//
// # Connections
//
// A bus dials its own connections with the options of the client: one for pub/sub and one for
// publishing. With the first queue subscription, the bus also dials a connection for locks. In a
// Cluster, it dials one such connection per node. The connections always use RESP2, regardless of
// the protocol version of the client. The client's own connections are used to find psrpc processes
// and observers. They are also used for locks that a server has refused because the locks belong on
// another server. This happens during failovers and while slots migrate.
//
// If the client has a StreamingCredentialsProvider (for Entra ID, for example), the bus subscribes
// to it once. When the credentials change, open connections stay as they are, because Redis does
// not accept AUTH on a connection that has subscribed to channels. If Redis closes them when their
// token expires, the bus connects again with the new credentials.
//
// The pipelines of go-redis are not used, because they hold a connection until all replies have
// arrived and allocate memory for each command. On its own connections, the bus writes new commands
// while Redis is still processing earlier ones. Receiving a frame allocates little more than the
// frame itself. Compared with go-redis, a unary call makes 13 instead of 28 allocations, and one
// subscriber receives 751k instead of 434k messages per second.
//
// # Under load
//
// While Redis keeps up with the frames, Publish writes to the socket itself, which is fastest for a
// single caller. Under load, frames wait in a queue and are sent in one batch when the next reply
// arrives. If the queue is full (see [WithPublishQueue]), Publish waits for space until its context
// ends.
//
// The bus reads as fast as it can and never waits for a subscriber. For a pub/sub connection, Redis
// limits the total size of the unread frames with client-output-buffer-limit (32 MB by default). If
// the process is so slow that the unread frames exceed this limit, Redis closes the connection and
// the bus reconnects.
//
// # When Redis goes away
//
// Together, the connections to a node form a session. If one of them fails, the bus closes the
// whole session and opens a new one with all subscriptions. There is one exception: in a Cluster, a
// failed connection for locks is replaced individually. The bus retries until it succeeds or is
// closed. Until then, Publish and Subscribe fail immediately with code unavailable. Frames are not
// stored to be sent later, because a late request is worse than a failed one. Frames that Redis has
// not confirmed are reported as lost.
//
// A half-open connection loses data while its socket stays open. The bus detects this in either
// direction, because Redis then does not reply to its commands. For this purpose, the bus also
// sends PING commands (see [WithProbeInterval]).
//
// # Debugging
//
// [Bus.Stats] returns the counters of the bus, and package metrics exports them. Events are logged
// or passed to the handler set by [WithEventHandler]:
//
//   - Disconnected contains the cause as its error. If the error is EOF although the server is
//     healthy, Redis has usually closed the connection because of its output buffer limit. The
//     Redis log shows whether this is the case. If the reason why the bus cannot connect again
//     changes, the event is repeated, at most every five seconds. The errors of Publish and
//     Subscribe contain this reason, too.
//   - Reconnected is emitted when Redis has confirmed all subscriptions again.
//   - Dropped is emitted when Redis has refused a channel, for example because of an ACL, and when
//     queue frames were lost.
//
// Queue frames are lost if their locks cannot be taken, for example because Redis refuses them. The
// error of the Dropped event is the cause. There is at most one such event per reason in five
// seconds. Stats.DroppedBy counts all of these frames by reason.
//
// go-redis has one logger for the whole program, which writes to standard error by default. This
// package replaces it with one that omits the lines about connections of buses, because the events
// report their failures. All other lines are written, for example one when Sentinel reports a new
// master. A program that calls redis.SetLogger gets all lines.
//
// # Testing
//
// Code that uses a bus can be tested without Redis by using bus.NewLocal, which follows the same
// contract. This package passes the conformance tests in package bustest. Its own tests start
// redis-server processes. Outside of CI, if redis-server is not installed, some tests use miniredis
// instead and others are skipped.
package redisbus
