//go:build chaos && unix

package long_test

import (
	"syscall"
	"testing"
	"time"
)

// longPause is longer than the timeout of every operation, and longer than the time to live of
// psrpc's locks in Redis.
const longPause = 7 * time.Second

// Servers are killed one after the other. The calls that a killed server is handling fail, but the
// other servers must serve all later calls.
func TestServer_Killed(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 3 {
			// Streams to the server end when their keepalive times out.
			f.during(timeout+2*time.Second, f.servers[0].kill)
			f.servers = append(f.servers[1:], f.start("server"))
			pause(time.Second)
		}
		f.end(promises{})
	})
}

// The client is killed several times. On the servers, its streams must end when their keepalive
// times out, and its calls must end when they expire.
func TestClient_Killed(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 3 {
			f.during(0, f.clients[0].kill)
			f.clients[0] = f.start("client")
			f.setRate(rate)
			pause(time.Second)
		}
		// A killed client may lose updates that it has not yet sent.
		f.end(promises{mayLose: everyUpdate})
	})
}

// A process is stopped for longer than a lock lives, and then continued. It must not handle
// requests or updates that another process has handled, nor requests that have expired.
func TestProcesses_StandStill(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for _, p := range []*peer{f.servers[0], f.consumers[0], f.clients[0]} {
			f.during(detection+timeout, func() {
				p.signal(syscall.SIGSTOP)
				pause(longPause)
				p.signal(syscall.SIGCONT)
			})
		}
		f.end(promises{mayLose: everyUpdate})
	})
}

// Servers are replaced one after the other, with SIGTERM. No call may fail. Streams may end when
// their server ends.
func TestServers_RollingRestart(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 9 {
			next := f.start("server")
			f.servers[0].terminate()
			f.servers = append(f.servers[1:], next)
			pause(200 * time.Millisecond)
		}
		f.end(promises{mayFail: streams})
	})
}

// Consumers are replaced one after the other, with SIGTERM. Each update sent to a queue must arrive
// exactly once.
func TestConsumers_RollingRestart(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 8 {
			next := f.start("consumer")
			f.consumers[0].terminate()
			f.consumers = append(f.consumers[1:], next)
			pause(200 * time.Millisecond)
		}
		f.end(promises{})
	})
}
