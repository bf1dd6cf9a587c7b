// Package dedup recognizes frames that a bus delivers twice.
//
// A bus should deliver a frame at most once, but a broker's client may send it again after a lost
// connection, and a channel that moves between the nodes of a cluster may be served by both for a
// moment. Without a filter a handler would run twice, or the reader of a stream would receive a
// message twice. A [Cache] therefore remembers the frames of the last 5 seconds, which is also the
// lifetime of the lock by which psrpc servers on Redis keep a request from running twice.
//
// The filter is best effort. Its memory is bounded: of the frames whose ids meet in one slot only
// the last is remembered. Requests that need a grant do not pass through it, since their client
// grants them only once.
package dedup
