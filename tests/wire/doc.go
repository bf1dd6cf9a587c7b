// Package wire tests the conformance of the system to the psrpc wire protocol. The tests use a
// hand-written reference peer over plain go-redis and nats.go connections. The peer shares no code
// with the engine: neither the codec nor the channel names nor the buses. It behaves as psrpc does,
// quirks included.
//
// The player replays recorded frames of psrpc clients and servers (vectors.json, in
// internal/wire/testdata). In each scenario, the player acts as one side and the engine as the
// other. Each frame of the engine must match the recorded frame field by field, except for IDs,
// times and the private fields of dynpsrpc. A table lists the intended deviations of the engine,
// which are tested too.
//
// Other tests mix psrpc peers and dynpsrpc peers in one fleet, and check frames of newer psrpc
// versions.
package wire
