// Package chaos tests the whole system under faults: killed brokers, half-open connections,
// subscribers that do not read, bursts, and servers that join and leave. Each test starts the
// brokers that it needs. Tests log their measurements; run go test -v to see them.
package chaos
