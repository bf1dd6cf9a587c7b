// Package id creates the ids of clients, servers, requests and streams. As in psrpc, an id is a
// prefix followed by twelve random letters and digits.
//
// Peers only compare ids for equality. The last character of a request or stream id also selects
// the shard in which a sharded table stores the call; see [Call.Shard]. The other eleven random
// characters have 62^11 possible values, which makes a collision on one bus unlikely.
package id
