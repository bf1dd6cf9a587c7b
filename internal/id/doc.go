// Package id creates the IDs of clients, servers, requests and streams. As in psrpc, an ID is a
// prefix followed by twelve random letters and digits.
//
// Peers only compare IDs for equality. The last character of a request or stream ID also selects
// the shard in which a sharded table stores the call; see [Call.Shard]. The other eleven random
// characters have 62^11 possible values, which makes a collision on one bus unlikely.
package id
