// Package conformance tests that dynpsrpc conforms to the psrpc wire protocol. Most tests use one of two
// tools. The first one is a handwritten reference peer on top of plain go-redis and nats.go
// connections. It behaves as psrpc does, including psrpc's quirks. It shares no code with dynpsrpc:
// it has its own codec, computes channel names itself, and does not use dynpsrpc's buses.
//
// The other tool, the player, replays frames that were recorded from psrpc clients and servers
// (vectors.json in internal/wire/testdata). In each scenario, the player acts as one side and
// dynpsrpc as the other. Each frame that dynpsrpc sends must match the recorded frame field by
// field, except for IDs, times and dynpsrpc's private fields. A table lists the intended deviations
// from psrpc; these are tested as well.
//
// Other tests mix psrpc peers and dynpsrpc peers on one network, and check frames sent by newer
// psrpc versions.
package conformance
