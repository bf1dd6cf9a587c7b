// Package redisbus is the bus over Redis pub/sub, byte-compatible with psrpc's. It works with a single server, with
// Sentinel and with Cluster. Import it for its drivers too: bus.Open takes redis://, rediss://, redis-sentinel://,
// rediss-sentinel://, redis-cluster:// and rediss-cluster:// once this package is linked.
//
// # Connections
//
// A bus holds one pub/sub connection and a few for commands. Together they are a session. If anything on a session
// fails, all of it is given up and a new one is made, with all subscriptions, before the bus is up again. Meanwhile
// Publish and Subscribe fail at once with code unavailable: nothing is kept to be sent later, since a late request is
// worse than none. A link that swallows bytes while its sockets stay open is noticed by frames that the bus sends to
// itself: see [WithProbeInterval].
//
// # Publishing
//
// Frames are sent in pipelines, in the order in which they were published. Redis answers each with the number of
// connections that it was sent to, which is what a Report is told; 0 means that nobody listens. In a Cluster the
// number counts one node's connections only and says little, so the Report is told bus.Unknown.
//
// # Queues
//
// A queue's frame reaches every process that has a member. Each then tries to take a lock that is made of the frame's
// bytes, SET key value EX 5 NX, where key is the base64 of the frame's SHA-256; the one that gets it delivers the
// frame. Two equal frames within five seconds are therefore one to a queue: whoever publishes makes them differ. The
// locks live in the database that the client has selected, so all peers must select the same one. A member that
// leaves takes the frames that its process has won until then.
//
// # Slow brokers and large frames
//
// Redis cuts a subscriber whose unread frames exceed its client-output-buffer-limit (32 MB unless configured
// otherwise). The bus reads as fast as it can, and never waits for a consumer; if it is cut nevertheless, it says so
// in an event, and reconnects.
package redisbus
