// Package dedup detects frames that a bus delivers twice.
//
// A bus should deliver a frame at most once. However, the client library of a broker may resend a
// frame after the connection has been lost. While a channel moves from one cluster node to another,
// both nodes may also briefly serve the channel. Without a filter, a handler would then run twice,
// or the reader of a stream would receive a message twice. A [Cache] therefore remembers the frames
// of the last 5 seconds. Five seconds is also the lifetime of the lock that psrpc servers on Redis
// use to prevent a request from running twice.
//
// The filter is best effort, because its memory is bounded: if the IDs of several frames map to the
// same slot of a full-size table, only the last frame is remembered. Requests that a server runs
// only after the client has selected it need no filter: the client selects a server only once per
// request, so at most one copy runs.
package dedup
