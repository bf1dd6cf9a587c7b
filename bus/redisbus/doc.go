// Package redisbus is the bus over Redis pub/sub. It is byte-compatible with psrpc: psrpc and
// dynpsrpc processes can call each other over the same Redis. It works with a single server, with
// Sentinel and with Cluster.
//
// # Use
//
// [New] makes a bus from a client of go-redis, which the caller keeps and closes after the bus.
// Importing the package also registers these URLs for bus.Open, which makes a client of its own:
//
//	redis://user:password@host:6379/0
//	redis-sentinel://host1:26379,host2:26379/0?master_name=mymaster
//	redis-cluster://user:password@host1:6379,host2:6379
//
// With rediss in place of redis, as in rediss-cluster://, the connections use TLS. These parameters
// are options of the bus:
//
//	prefix           see WithPrefix
//	probe_interval   see WithProbeInterval, for example 3s
//	connect_timeout  see WithConnectTimeout
//	publish_queue    see WithPublishQueue
//	max_frame_size   see WithMaxFrameSize, in bytes
//	sharded          true: see WithShardedPubSub
//
// go-redis reads all other parameters, for example dial_timeout, skip_verify and client_name. In a
// Sentinel URL, the user and password before the host are for the sentinels; the parameters
// username and password are for the Redis servers.
//
// If Redis restricts users by ACL, the bus needs the channels of its services, its probe channels
// (the prefix, then DYN|PROBE|*), and, for queues, all keys, because the keys of locks are hashes.
//
// # Ordering and delivery
//
// Frames are sent in the order in which they were published. Redis delivers each at most once to
// each process, and loses those that are published while a subscriber's connection is down.
//
// Redis replies to each frame with the number of connections that it was sent to, and the bus
// passes that number to the bus.DeliveryReport; 0 means that there is no subscriber. In a Cluster
// without sharded pub/sub, the number only counts the connections of one node, so the report gets
// bus.Unknown instead.
//
// Redis sends a queue frame to every process that has a subscriber of the queue. As in psrpc, each
// process then tries to take a lock on the frame, SET key value EX 5 NX, where key is the base64 of
// the frame's SHA-256. Redis gives the lock to one process, and that process delivers the frame.
// This has four consequences:
//
//   - Two identical frames within five seconds count as one. Publishers must make queue frames
//     differ; requests of psrpc and dynpsrpc do, because they have a request id.
//   - All peers must select the same database, because the locks are keys in it.
//   - Frames are not spread evenly: the process closest to Redis may win a whole burst. Locks are
//     taken in small batches, which gives the others a chance.
//   - A subscriber that closes still gets the frames that its process has locked before.
//
// # Connections
//
// A bus dials its own connections, with the options of the client: one for pub/sub, one to publish,
// and one for locks once a queue frame arrives (one per node in a Cluster). The client's pool and
// hooks are not involved, and the connections speak RESP2 whatever the client speaks.
//
// A pipeline of go-redis is not used because it holds a connection until all its replies have
// arrived, and allocates for each command. On its own connections the bus writes new commands while
// Redis still works on earlier ones, and a received frame costs little more than its bytes. That
// took a unary call from 28 to 13 allocations, and updates to one subscriber from 434k to 751k a
// second.
//
// # Under load
//
// While few frames are unanswered, Publish writes to the socket itself, which is fastest for a
// single caller. Under load, frames wait in a queue and leave in one batch when the next reply
// arrives. If the queue is full ([WithPublishQueue]), Publish waits for space until its context
// ends.
//
// The bus reads as fast as it can and never waits for a subscriber. If the process is still too
// slow and the unread frames exceed Redis' client-output-buffer-limit for pub/sub (32 MB by
// default), Redis closes the connection, and the bus reconnects.
//
// # When Redis goes away
//
// The connections to a node make up a session. If one of them fails, the bus closes the whole
// session and opens a new one, with all subscriptions; it retries until it succeeds or is closed.
// Until then, Publish and Subscribe fail at once with code unavailable. Nothing is buffered for
// later, because a late request is worse than a failed one. Frames that Redis had not confirmed are
// reported as lost.
//
// Half-open connections, which lose bytes while their sockets stay open, are detected by frames
// that the bus sends to itself, and by commands that get no reply: see [WithProbeInterval].
//
// # Debugging
//
// [Bus.Stats] has the counters, and package metrics exports them. Events go to the log, or to the
// handler of [WithEventHandler]:
//
//   - Disconnected has the reason as its error. EOF from a healthy server usually means that Redis
//     has closed the connection because of its output buffer limit; the log of Redis says so.
//   - Reconnected follows when all subscriptions are confirmed again.
//   - Dropped means that Redis refused a channel, for example by ACL.
//
// Stats.Dropped also counts queue frames whose lock could not be taken because of an error.
//
// # Testing
//
// Code that uses a bus can be tested without Redis on bus.NewLocal, which keeps the same contract.
// Package bustest has the conformance tests that this package passes. The tests of this package
// start redis-server processes. Outside of CI, some use miniredis and others are skipped if
// redis-server is not installed.
package redisbus
