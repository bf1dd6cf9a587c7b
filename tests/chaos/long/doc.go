// Package long tests that the guarantees in README.md hold while brokers, connections and
// processes fail. Each test starts its own broker and several processes that run the program peer.
// The processes make calls of every kind at a steady rate while the test injects faults. Finally,
// the test checks the reports of all processes: whether any request ran twice or started too late,
// whether anything was lost, and whether any process leaked resources.
//
// The tests take several minutes and need the build tag chaos. "make chaos" runs all of them. "make
// soak" runs TestSoak for the time given by the variable DURATION. docs/reliability.md lists the
// guarantees and the results of the tests.
package long
