// Package id creates the IDs of clients, servers, requests and streams. As in psrpc, an ID is a
// prefix followed by twelve random letters and digits.
//
// psrpc peers only compare IDs for equality. In dynpsrpc, some tables are split into shards, and
// the last character of a request or stream ID selects the shard; see [Call.Shard]. The other
// eleven characters have 62^11 possible values, which makes a collision on one bus unlikely.
package id
