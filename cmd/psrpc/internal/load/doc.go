// Package load puts load on a method and measures the results.
//
// [Run] repeats an [Operation] as a [Plan] says. There are two ways to do so. In a closed loop, a
// fixed number of callers start their next operation when their previous one has ended. A slow
// server therefore gets less load. In an open loop, operations start at a given rate, whether or
// not earlier ones have ended. Their latency counts from the intended start, so a server or a tool
// that cannot keep up shows in the latencies.
//
// [NewCalls], [NewMultiCalls], [NewStreams] and [NewUpdates] make the operations for the four kinds
// of methods.
package load
