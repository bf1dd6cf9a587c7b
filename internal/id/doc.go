// Package id creates the identifiers of clients, servers, requests and streams: a prefix followed
// by twelve random letters and digits, as psrpc writes them.
//
// Peers only compare ids for equality. The last letter of a request or stream id also selects the
// shard of a table in which the call is stored, see [Call.Shard]. The remaining 62^11 values make a
// collision on one bus unlikely.
package id
