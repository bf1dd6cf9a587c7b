//go:build chaos && unix

package long_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// wrappedBus embeds a bus and implements the same optional interfaces.
type wrappedBus struct{ bus.Bus }

func (b wrappedBus) CountsReceivers() bool {
	counter, ok := b.Bus.(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}

func (b wrappedBus) ReceiverID() string {
	if competing, ok := b.Bus.(bus.Competing); ok {
		return competing.ReceiverID()
	}
	return ""
}

func (b wrappedBus) Stats() bus.Stats {
	if monitored, ok := b.Bus.(bus.Monitored); ok {
		return monitored.Stats()
	}
	return bus.Stats{}
}

// loss decides which frames are lost.
type loss struct {
	mu   sync.Mutex
	plan *rand.Rand
	lost int
}

func newLoss(t *testing.T) *loss {
	t.Helper()
	t.Logf("seed %d", *seed)
	return &loss{plan: rand.New(rand.NewPCG(*seed, 0))}
}

// take decides whether the next frame is lost. On average, one frame in 20 is.
func (l *loss) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.plan.Float64() < 0.05
	if lost {
		l.lost++
	}
	return lost
}

// lossyBus loses some of the frames with which clients and servers discover each other.
type lossyBus struct {
	wrappedBus

	*loss
}

func (b lossyBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	envelope, _ := wire.ParseEnvelope(frame)
	if (envelope.Kind == wire.KindDiscover || envelope.Kind == wire.KindPresence) && b.take() {
		return nil
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// memberFleet is a changing group of servers, with a record of the calls to them.
type memberFleet struct {
	*testkit.Fleet

	t *testing.T
	// missed counts the multi calls of the current conn that a server should have answered but has
	// not.
	missed map[string]int
	// calls counts calls to one server, and failed those that have failed. multis counts multi
	// calls, incomplete those that have missed a server, and slow those that have lasted until
	// their timeout.
	calls, failed, multis, incomplete, slow int
}

func newMemberFleet(t *testing.T, connect func() bus.Bus) *memberFleet {
	t.Helper()
	echo := dynamic.Unary(testkit.Echo)
	network := testkit.Network{Connect: func(testing.TB) bus.Bus { return connect() }}
	return &memberFleet{t: t, missed: map[string]int{}, Fleet: testkit.NewFleet(t, network, testkit.Servers(5),
		testkit.Handlers(dynamic.Handlers{"NormalRPC": echo, "IntensiveRPC": echo, "GetStats": echo}))}
}

// dial replaces the conn and resets missed.
func (f *memberFleet) dial() {
	f.t.Helper()
	f.Dial()
	f.missed = map[string]int{}
}

const multiTimeout = time.Second

// use makes calls of each kind.
func (f *memberFleet) use() {
	f.t.Helper()
	for range 3 {
		f.callAll()
		for _, method := range []string{"NormalRPC", "NormalRPC", "NormalRPC", "IntensiveRPC"} {
			f.calls++
			if _, err := f.Caller(method).Call(f.t.Context(), &api.MyRequest{}); err != nil {
				f.failed++
				f.t.Log(method, err)
			}
		}
	}
}

func (f *memberFleet) callAll() {
	f.t.Helper()
	started, answered := time.Now(), map[string]bool{}
	all := f.Caller("GetStats")
	for response := range all.Responses(f.t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(multiTimeout)) {
		answered[response.ServerID] = response.Err == nil
	}
	f.multis++
	if time.Since(started) >= multiTimeout {
		f.slow++
	}
	complete := true
	for _, server := range f.Servers {
		if !answered[server.ID()] {
			f.missed[server.ID()]++
			complete = false
		}
	}
	if !complete {
		f.incomplete++
	}
}

// requireWhole requires that no call has failed, and that no server is missing from more than one
// multi call.
func (f *memberFleet) requireWhole() {
	f.t.Helper()
	for server, times := range f.missed {
		assert.LessOrEqual(f.t, times, 1, "multi calls without %s", server)
	}
	assert.Zero(f.t, f.failed)
}

func (f *memberFleet) log(what string) {
	f.t.Helper()
	f.t.Logf("%s: %d calls, %d failed; %d multi calls, %d incomplete, %d until the timeout", what, f.calls, f.failed, f.multis,
		f.incomplete, f.slow)
}

// Servers join and leave, and from time to time, all servers and the client are replaced. One in 20
// of the frames with which they discover each other is lost. No call may fail, and a new server may
// be missing only from the first multi call.
func TestMembership_AnnouncementsLost(t *testing.T) {
	onEveryBus(t, func(t *testing.T, connect connect) {
		plan := newLoss(t)
		f := newMemberFleet(t, func() bus.Bus {
			b, _ := connect()
			return lossyBus{wrappedBus{b}, plan}
		})
		for round := range 40 {
			switch {
			case round%10 == 9:
				for range f.Servers {
					f.Join()
					f.Leave()
				}
				f.dial()
			case round%2 == 0:
				f.Join()
			default:
				f.Leave()
			}
			pause(5 * time.Millisecond) // announcements may still be on their way
			f.use()
			f.requireWhole()
		}
		f.log("5 % lost")
		t.Logf("%d frames lost", plan.lost)
		assert.LessOrEqual(t, f.slow, plan.lost)
	})
}

// The broker is restarted, so that all servers and the client connect again. Immediately
// afterwards, all calls must succeed.
func TestMembership_BrokerRestarted(t *testing.T) {
	onRestartable(t, func(t *testing.T, n restartable) {
		f := newMemberFleet(t, n.connect)
		f.use()
		for range 3 {
			n.Kill()
			n.Start()
			testkit.Eventually(t, func() bool {
				count := 0
				// A call that waits for a server without a connection must leave time for another call.
				timeout := dynamic.WithRequestTimeout(multiTimeout)
				for response := range f.Caller("GetStats").Responses(t.Context(), &api.MyRequest{}, timeout) {
					if response.Err == nil {
						count++
					}
				}
				return count == len(f.Servers)
			}, "all servers answer")
			f.use()
			f.requireWhole()
		}
		f.log("broker restarted")
		assert.Zero(t, f.incomplete)
	})
}

// The network is split: two of five servers can reach neither the broker nor the client, and their
// connections stay open. Calls may fail for a short time. When the split has ended, all servers
// must be members again, although Redis still counts the old connections. The NATS server pings its
// clients often, because it removes a dead connection from queue groups only after its pings have
// failed.
func TestMembership_NetworkSplit(t *testing.T) {
	test := func(t *testing.T, addr string, connect func(addr string) bus.Bus) {
		t.Helper()
		var links []*testenv.Proxy
		f := newMemberFleet(t, func() bus.Bus {
			link := testenv.NewProxy(t, addr)
			links = append(links, link)
			return connect(link.Addr())
		})
		for range 3 {
			f.use()
		}
		f.requireWhole()
		for _, link := range links[:2] {
			link.BlackHoleAll()
		}
		whole, before := f.Servers, *f
		f.Servers = whole[2:]
		for started := time.Now(); time.Since(started) < 10*time.Second; {
			f.use()
		}
		t.Logf("during the split: %d calls, %d failed, %d of %d multi calls until their timeout", f.calls-before.calls,
			f.failed, f.slow-before.slow, f.multis-before.multis)
		assert.Zero(t, f.incomplete)
		assert.LessOrEqual(t, f.slow-before.slow, 2)
		for _, link := range links[:2] {
			link.Heal()
		}
		f.Servers = whole
		testkit.Eventually(t, func() bool {
			incomplete, slow := f.incomplete, f.slow
			f.callAll()
			return f.incomplete == incomplete && f.slow == slow
		}, "all servers answer a multi call that does not last until its timeout")
		before = *f
		f.missed, f.failed = map[string]int{}, 0
		for range 10 {
			f.use()
		}
		f.requireWhole()
		assert.Equal(t, before.incomplete, f.incomplete)
		assert.Equal(t, before.slow, f.slow)
	}
	t.Run(testkit.RedisName, func(t *testing.T) {
		test(t, testenv.Redis(t).Addr(), func(addr string) bus.Bus { return testkit.Redis(t, addr) })
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		config := filepath.Join(t.TempDir(), "nats.conf")
		require.NoError(t, os.WriteFile(config, []byte("ping_interval: 1s\nping_max: 2\n"), 0o600))
		test(t, testenv.NATSProcess(t, "-c", config).Addr(), func(addr string) bus.Bus { return testkit.NATS(t, "nats://"+addr) })
	})
}
