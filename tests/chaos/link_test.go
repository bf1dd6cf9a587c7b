//go:build chaos

package chaos_test

import (
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// Links that are cut or reset are replaced at once.
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

// A link that discards what is sent in one direction, while its sockets stay open, is detected
// under load, and everything works again once a new link does.
func TestLink_BlackHoles(t *testing.T) {
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
	})
}

// Calls over slow links succeed.
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

// Every process loses one in twenty of the frames that it sends.
func TestFrames_Lost(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.t.Logf("seed %d", *seed)
		f.begin("-loss", "0.05", "-seed", formatSeed())
		pause(8 * time.Second)
		f.end(promises{mayLose: everyUpdate, unreliable: true})
	})
}

// Every frame is delayed by up to three quarters of the timeout, so that frames overtake each other
// and claims, grants and cancellations come late.
func TestFrames_DelayedAtRandom(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.t.Logf("seed %d", *seed)
		f.begin("-jitter", (timeout * 3 / 4).String(), "-seed", formatSeed())
		pause(8 * time.Second)
		f.end(promises{mayLose: everyUpdate, unreliable: true})
	})
}
