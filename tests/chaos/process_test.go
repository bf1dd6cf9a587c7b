//go:build chaos && unix

package chaos_test

import (
	"syscall"
	"testing"
	"time"
)

// longPause is longer than a Redis lock of psrpc lives, and longer than every timeout.
const longPause = 7 * time.Second

// A killed server takes the calls with it that it was handling. Others serve the next ones.
func TestServer_Killed(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 3 {
			f.during(timeout+2*time.Second, f.servers[0].kill) // a stream ends by its keepalive
			f.servers = append(f.servers[1:], f.start("server"))
			pause(time.Second)
		}
		f.end(promises{})
	})
}

// What a killed client has opened at the servers ends by itself: its streams by their keepalive,
// its calls at the latest with their timeout.
func TestClient_Killed(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 3 {
			f.during(0, f.clients[0].kill)
			f.clients[0] = f.start("client")
			f.setRate(rate)
			pause(time.Second)
		}
		f.end(promises{mayLose: everyUpdate}) // those that the client had not written yet
	})
}

// A process that stood still neither repeats what others have done meanwhile, nor begins what has
// expired.
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

// Servers are replaced one after the other by SIGTERM, and no call fails. Streams end with their
// servers.
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

// Consumers of a queue are replaced one after the other by SIGTERM, and each update arrives once.
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
