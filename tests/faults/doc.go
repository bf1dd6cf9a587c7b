// Package faults holds the tests of the whole system under faults: brokers that are killed, links that swallow what
// is sent, subscribers that do not read, bursts, servers that come and go. They run the engine over real brokers,
// each test with its own, and log what they measured: run them with -v to see it.
package faults
