// Package chaos tests that the guarantees of README.md hold while brokers, links and processes
// fail. Each test starts a fleet of real processes (see package peer) on a broker of its own, makes
// calls of every kind at a steady rate, injects faults, and then judges the reports of all
// processes: what ran twice, what began too late, what was lost and what has leaked.
//
// The tests take minutes and have the build tag chaos. make chaos runs them all; make soak runs
// TestSoak for DURATION. docs/reliability.md lists the promises with the figures of the tests.
package chaos
