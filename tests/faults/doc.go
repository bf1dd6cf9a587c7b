// Package faults tests the whole system under faults: brokers that are killed, half-open
// connections, subscribers that do not read, bursts, and servers that join and leave. Each test
// starts its own real brokers and logs its measurements, which are shown with -v.
package faults
