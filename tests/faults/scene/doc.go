// Package scene sets up the networks, servers and clients for the tests of faults and defects.
//
// All tests use the service of package api, which has a method of every kind. Tests that share a
// broker would reach each other's servers, so each test starts its own broker. Any error of a
// helper fails the test. When the test ends, clients and servers are closed first, then their
// buses, then the broker.
package scene
