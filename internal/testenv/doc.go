// Package testenv starts brokers for tests, and simulates network faults.
//
// [Redis], [RedisCluster], [RedisSentinel] and [NATSProcess] start separate processes; [NATS]
// starts a server in the test's process. All of them listen on random loopback ports, are ready
// when the function returns, and are stopped when the test ends. The processes also end when the
// test binary is killed (on Linux). [NewProxy] returns a TCP proxy for use between a client and a
// broker; its methods inject faults.
//
// Functions report errors by failing the test. As with [testing.TB.FailNow] they must be called
// from the goroutine that runs the test. The methods of [Proxy] cannot fail and may be called from
// any goroutine.
//
// Redis requires redis-server 7.0 or later in the PATH. If it is missing and the environment
// variable CI is set, the test fails. Otherwise Redis falls back to miniredis, a Go implementation,
// and logs that; tests of a cluster or of sentinels are skipped.
package testenv
