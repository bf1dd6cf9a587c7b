// Package redisbus is the bus over Redis pub/sub, byte-compatible with psrpc's. It works with a
// single server, with Sentinel and with Cluster.
//
// # URLs
//
// bus.Open takes these once the package is imported:
//
//	redis://user:password@host:6379/0
//	redis-sentinel://host1:26379,host2:26379/0?master_name=mymaster
//	redis-cluster://user:password@host1:6379,host2:6379
//
// and the same with rediss in place of redis, for TLS. Parameters are prefix, probe_interval,
// connect_timeout, publish_queue, max_frame_size and sharded, which are this package's options, and
// those that go-redis reads from its own URLs: for example dial_timeout, skip_verify, client_name;
// and for Sentinel, where the URL's user is the sentinels', username and password.
//
// # Connections
//
// A bus holds one pub/sub connection and a few for commands, which go-redis makes as the client's
// options say, and which are the bus's alone: the client's pool has no part in them, its hooks see
// nothing of them, and they speak RESP2 whatever the client does. Together they are a session. If
// anything on a session fails, all of it is given up and a new one is made, with all subscriptions,
// before the bus is up again. Meanwhile Publish and Subscribe fail at once with code unavailable:
// nothing is kept to be sent later, since a late request is worse than none. A link that swallows
// bytes while its sockets stay open is noticed by frames that the bus sends to itself: see
// [WithProbeInterval].
//
// # Publishing
//
// Frames are sent in the order in which they were published. As long as few are on their way
// whoever publishes one also writes it to the socket; else frames wait for an answer from Redis,
// and then leave together. Redis answers each with the number of connections that it was sent to,
// which is what a Report is told; 0 means that nobody listens. In a Cluster the number counts one
// node's connections only and says little, so the Report is told bus.Unknown.
//
// # Queues
//
// A queue's frame reaches every process that has a member. Each then tries to take a lock that is
// made of the frame's bytes, SET key value EX 5 NX, where key is the base64 of the frame's SHA-256;
// the one that gets it delivers the frame. Two equal frames within five seconds are therefore one
// to a queue: whoever publishes makes them differ. The locks live in the database that the client
// has selected, so all peers must select the same one. The process that is first at Redis may get
// all of a burst; locks are asked for a few at a time, so that others come in between. A member
// that leaves takes the frames that its process has won until then.
//
// # Slow brokers and large frames
//
// Redis cuts a subscriber whose unread frames exceed its client-output-buffer-limit (32 MB unless
// configured otherwise). The bus reads as fast as it can, and never waits for a consumer; if it is
// cut nevertheless, it says so in an event, and reconnects.
package redisbus
