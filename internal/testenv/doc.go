// Package testenv starts brokers for tests and simulates network faults.
//
// [Redis], [RedisTLS], [RedisCluster], [RedisSentinel] and [NATSProcess] start separate processes;
// [NATS] starts a server inside the test process. All servers listen on random loopback ports, are
// ready when the function returns, and are stopped when the test ends. On Linux, the processes are
// also killed if the test binary is killed. [NewProxy] returns a TCP proxy to be placed between a
// client and a broker; its methods inject faults.
//
// Functions report errors by failing the test. Like [testing.TB.FailNow], they must be called from
// the goroutine that runs the test. The methods of [Proxy] do not have this restriction and are
// safe for concurrent use.
//
// Redis requires redis-server 7.0 or later in the PATH. If it is missing and the environment
// variable CI is set, the test fails. Otherwise, Redis falls back to miniredis, a Redis server
// written in Go, and logs this; tests that require TLS, a cluster or a sentinel are skipped.
package testenv
