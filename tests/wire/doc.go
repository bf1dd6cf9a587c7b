// Package wire checks the whole against psrpc's wire protocol. Its tests have a reference peer, made by hand over plain
// go-redis and nats.go connections, that shares no code with the engine: not its codec, not its channel names, not its
// buses. The peer behaves as psrpc does, quirks included.
//
// The player takes what psrpc's own clients and servers were seen to send (vectors.json, in internal/wire/testdata),
// scenario by scenario, and plays one side of it by hand while our engine has the other: each frame that the engine
// puts on the bus must be the recorded one, field by field, but for ids, times and our private fields. Where the
// engine deliberately does something else, a table says what, and the tests check that.
//
// Other tests mix both kinds of peers in one fleet, and check what newer psrpc versions send.
package wire
