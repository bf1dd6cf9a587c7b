// Package scene provides helpers that set up the networks, servers and clients for the tests in
// packages faults and defects.
//
// All tests use the service defined in package api, which has a method of every kind. Each test
// starts its own broker. If tests shared a broker, they would reach each other's servers. A helper
// that encounters an error fails the test. When the test ends, its clients and servers are closed
// first, then their buses, and finally the broker.
package scene
