// Package scene sets up what the tests of faults and of defects have in common: networks, the peers on them, and load.
//
// The service is that of package api: it has a method of every kind. Tests that share a broker would meet on it, so
// each test has a broker of its own. Whatever goes wrong fails the test, and all ends with it, the peers before their
// buses and those before the broker.
package scene
