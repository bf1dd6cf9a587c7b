//go:build chaos && unix

package long_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// The connections of one process after the other are cut or reset. The processes must reconnect
// immediately.
func TestLink_Cut(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for i := range 12 {
			peers := f.peers()
			cut := []func(*testenv.Proxy){(*testenv.Proxy).Cut, (*testenv.Proxy).Reset}[i%2]
			f.during(time.Second, func() { cut(peers[i%len(peers)].link) })
		}
		f.during(timeout, func() {
			for _, p := range f.peers() {
				p.link.Cut()
			}
		})
		f.end(promises{mayLose: everyUpdate})
	})
}

// A link discards all bytes in one direction, and later in both, while its sockets stay open. The
// bus must detect this under load, and everything must work again when the bus has reconnected. In
// this test, the NATS server pings its clients often, because it removes a dead connection from
// queue groups only after its pings have failed.
func TestLink_BlackHoles(t *testing.T) {
	config := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(config, []byte("ping_interval: 1s\nping_max: 2\n"), 0o600))
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for _, peers := range [][]*peer{{f.servers[0], f.consumers[0]}, {f.clients[0]}} {
			for _, discard := range []func(*testenv.Proxy, bool){(*testenv.Proxy).Mute, (*testenv.Proxy).Deafen} {
				f.during(detection+timeout, func() {
					for _, p := range peers {
						discard(p.link, true)
					}
					pause(5 * time.Second)
					for _, p := range peers {
						discard(p.link, false)
					}
				})
			}
		}
		f.during(detection+timeout, func() {
			f.servers[1].link.BlackHole()
			f.clients[0].link.BlackHole()
		})
		f.end(promises{mayLose: everyUpdate})
	}, "-c", config)
}

// All calls must succeed although the links delay all bytes by 50 ms.
func TestLink_Slow(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for _, p := range f.peers() {
			p.link.Delay(50 * time.Millisecond)
		}
		pause(8 * time.Second)
		for _, p := range f.peers() {
			p.link.Delay(0)
		}
		f.end(promises{})
	})
}

// Each process drops 5 % of the frames that it publishes. Operations may fail, but no request may
// run twice or late.
func TestFrames_Lost(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.t.Logf("seed %d", *seed)
		f.begin("-loss", "0.05", "-seed", formatSeed())
		pause(8 * time.Second)
		f.end(promises{mayLose: everyUpdate, unreliable: true})
	})
}

// Each frame is delayed by a random time of up to three quarters of the timeout. Frames overtake
// each other, and claims, grants and cancellations arrive late. No request may run twice or late.
func TestFrames_DelayedAtRandom(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.t.Logf("seed %d", *seed)
		f.begin("-jitter", (timeout * 3 / 4).String(), "-seed", formatSeed())
		pause(8 * time.Second)
		f.end(promises{mayLose: everyUpdate, unreliable: true})
	})
}
