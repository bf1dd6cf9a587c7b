// Package testenv starts the brokers that tests need, and breaks the links to them.
//
// [Redis], [RedisCluster], [RedisSentinel] and [NATSProcess] start processes of the test's own; [NATS] is a server
// inside the test's process. All listen on random loopback ports, are ready when they are returned, and have ended
// when the test has. Processes end with the test binary, too, if that is killed. [NewProxy] is a TCP proxy with
// faults, to be put between a client and any of them.
//
// Whatever goes wrong fails the test. So, as with [testing.TB.FailNow], functions and methods belong on the
// goroutine that runs the test, one at a time; those of [Proxy], which cannot fail, may run anywhere.
//
// Redis needs redis-server, 7.0 or later, in the PATH. Without it a test fails if the environment variable CI is
// set. Otherwise Redis stands in with one in Go, and says so in the test's log; a cluster or a sentinel skips the
// test.
package testenv
