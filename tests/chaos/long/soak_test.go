//go:build chaos && unix

package long_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// faultInterval is the time between the starts of two faults. If a fault takes longer, the next one
// starts later.
const faultInterval = 5 * time.Second

// For the time given by the flag -duration, the test injects randomly selected faults into the
// brokers and the processes. The first server, the first consumer and the client are never
// replaced.
func TestSoak(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		t.Logf("%s: %v, seed %d", f.name, *duration, *seed)
		f.begin()
		from := time.Now()
		plan := rand.New(rand.NewPCG(*seed, uint64(len(f.name))))
		injected := map[string]int{}
		for next := from; time.Since(from) < *duration; next = next.Add(faultInterval) {
			pause(time.Until(next))
			name := faultNames[plan.IntN(len(faultNames))]
			injected[name]++
			faults[name](f, plan)
		}
		pause(detection + timeout)
		f.windows = []window{{from, time.Now()}}
		pause(3 * time.Second)
		t.Logf("%s: %d faults: %s", f.name, sum(injected), counts(injected))
		f.end(promises{mayLose: everyUpdate})
	})
}

// faults contains the faults that TestSoak injects. A fault ends when its function returns.
var faults = map[string]func(f *fleet, plan *rand.Rand){
	"broker killed": func(f *fleet, plan *rand.Rand) {
		f.broker.Kill()
		pause(upTo(plan, time.Second))
		f.broker.Start()
	},
	"broker paused": func(f *fleet, plan *rand.Rand) {
		f.broker.Pause()
		pause(upTo(plan, 4*time.Second))
		f.broker.Resume()
	},
	"link cut":   func(f *fleet, plan *rand.Rand) { f.any(plan).link.Cut() },
	"link reset": func(f *fleet, plan *rand.Rand) { f.any(plan).link.Reset() },
	"link muted": func(f *fleet, plan *rand.Rand) {
		p := f.any(plan)
		p.link.Mute(true)
		pause(upTo(plan, 4*time.Second))
		p.link.Mute(false)
		// Cut the connection, because the bytes discarded by Mute are missing. On a real TCP
		// connection, no bytes can be missing.
		p.link.Cut()
	},
	"link deaf": func(f *fleet, plan *rand.Rand) {
		p := f.any(plan)
		p.link.Deafen(true)
		pause(upTo(plan, 4*time.Second))
		p.link.Deafen(false)
		p.link.Cut()
	},
	"link black-holed": func(f *fleet, plan *rand.Rand) {
		p := f.any(plan)
		p.link.BlackHole()
		pause(upTo(plan, 4*time.Second))
		p.link.Cut() // until the cut, the NATS server keeps the old connection in its queue groups
	},
	"link slow": func(f *fleet, plan *rand.Rand) {
		p := f.any(plan)
		p.link.Delay(upTo(plan, 200*time.Millisecond))
		pause(upTo(plan, 4*time.Second))
		p.link.Delay(0)
	},
	"process paused": func(f *fleet, plan *rand.Rand) {
		p := f.any(plan)
		p.signal(syscall.SIGSTOP)
		pause(upTo(plan, longPause))
		p.signal(syscall.SIGCONT)
	},
	"server killed":       func(f *fleet, _ *rand.Rand) { f.replace(&f.servers, (*peer).kill) },
	"server terminated":   func(f *fleet, _ *rand.Rand) { f.replace(&f.servers, (*peer).terminate) },
	"consumer killed":     func(f *fleet, _ *rand.Rand) { f.replace(&f.consumers, (*peer).kill) },
	"consumer terminated": func(f *fleet, _ *rand.Rand) { f.replace(&f.consumers, (*peer).terminate) },
}

// faultNames contains the keys of the map faults in a fixed order, so that the same seed selects
// the same faults again.
var faultNames = []string{
	"broker killed", "broker paused", "link cut", "link reset", "link muted", "link deaf", "link black-holed", "link slow",
	"process paused", "server killed", "server terminated", "consumer killed", "consumer terminated",
}

func upTo(plan *rand.Rand, longest time.Duration) time.Duration {
	return time.Duration(plan.Int64N(int64(longest)))
}

// any returns a random process of the fleet.
func (f *fleet) any(plan *rand.Rand) *peer {
	peers := f.peers()
	return peers[plan.IntN(len(peers))]
}

// replace starts a new process and then ends the second process in the list, which is the oldest
// one apart from the first. The first process is never replaced.
func (f *fleet) replace(peers *[]*peer, end func(*peer)) {
	f.t.Helper()
	next := f.start((*peers)[1].role)
	end((*peers)[1])
	*peers = append(append([]*peer{(*peers)[0]}, (*peers)[2:]...), next)
}
