//go:build chaos && unix

package chaos_test

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

const (
	servers   = 3
	consumers = 2
	// rate is the number of attempts of each of the eight kinds in a second, on each broker.
	rate = 25
	// timeout is that of the attempts.
	timeout = 2 * time.Second
	// warmUp is how long attempts are made before the first fault and after the last one.
	warmUp = time.Second
)

// broker is a process that can be killed and paused.
type broker interface {
	URL() string
	Kill()
	Start()
	Pause()
	Resume()
}

// fleet is a group of processes on one broker.
type fleet struct {
	t       *testing.T
	name    string
	url     string
	broker  broker // nil on a cluster
	records *ledger
	program string
	// direct makes the processes connect without proxies, for clusters, whose servers announce
	// their own addresses.
	direct bool

	servers, consumers, clients []*peer
	windows                     []window
	before                      map[*peer]usage
	started                     int
}

// onBrokers runs test with a fleet on Redis and with one on NATS, at the same time. natsArgs are
// arguments of nats-server.
func onBrokers(t *testing.T, test func(t *testing.T, f *fleet), natsArgs ...string) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, newFleet(t, "redis", testenv.Redis(t)))
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		test(t, newFleet(t, "nats", testenv.NATSProcess(t, natsArgs...)))
	})
}

// newFleet returns a fleet without processes.
func newFleet(t *testing.T, name string, b broker) *fleet {
	return &fleet{t: t, name: name, url: b.URL(), broker: b, records: newLedger(), program: program, before: map[*peer]usage{}}
}

// begin starts the processes, notes what they use when they are idle, and starts the attempts.
func (f *fleet) begin(args ...string) {
	f.t.Helper()
	for range servers {
		f.servers = append(f.servers, f.start("server", args...))
	}
	for range consumers {
		f.consumers = append(f.consumers, f.start("consumer", args...))
	}
	f.clients = append(f.clients, f.start("client", args...))
	f.setRate(rate)
	pause(warmUp)
	f.setRate(0)
	for _, p := range f.peers() {
		f.before[p] = p.usage()
	}
	f.setRate(rate)
	pause(warmUp)
}

// peers returns the processes that the fleet consists of now.
func (f *fleet) peers() []*peer {
	return slices.Concat(f.servers, f.consumers, f.clients)
}

// setRate makes all clients make attempts.
func (f *fleet) setRate(rate int) {
	f.t.Helper()
	for _, c := range f.clients {
		c.setRate(rate)
	}
}

// start starts another process with a link of its own.
func (f *fleet) start(role string, args ...string) *peer {
	f.t.Helper()
	f.started++
	address := f.url
	var link *testenv.Proxy
	if !f.direct {
		parsed, err := url.Parse(f.url)
		require.NoError(f.t, err)
		link = testenv.NewProxy(f.t, parsed.Host)
		parsed.Host = link.Addr()
		address = parsed.String()
	}
	args = append(args, "-timeout", timeout.String())
	p := startPeer(f.t, f.program, role, fmt.Sprintf("%s%d", role, f.started), address, f.records, args...)
	p.link = link
	return p
}

// underWay is how long an update may be under way after Publish has returned.
const underWay = 200 * time.Millisecond

// during injects a fault. Attempts may fail from its begin until recovery after its end.
func (f *fleet) during(recovery time.Duration, fault func()) {
	w := window{from: time.Now().Add(-underWay)}
	fault()
	w.to = time.Now().Add(recovery)
	f.t.Logf("%s: a fault from %s, over at %s", f.name, w.from.Format("05.000"), w.to.Format("05.000"))
	f.windows = append(f.windows, w)
	pause(recovery)
}

// promises is what a test expects beyond what holds for all: nothing runs twice, late or out of
// order, attempts fail in faults only, and the processes use no more than before.
type promises struct {
	// mayLose are the kinds of which attempts that succeeded may be lost in a fault.
	mayLose []string
	// mayFail are the kinds that may fail without a fault.
	mayFail []string
	// unreliable says that attempts may fail all the time.
	unreliable bool
	// grows is why the processes may use more than before, or "".
	grows string
}

// everyUpdate are the kinds of updates.
var everyUpdate = []string{"one", "all"}

// streams are the kinds of attempts that need a stream.
var streams = []string{"stream", "opening", "reopening"}

// end ends the attempts and judges the fleet.
func (f *fleet) end(p promises) *verdict {
	f.t.Helper()
	pause(warmUp)
	f.setRate(0)
	pause(time.Second)   // updates under way
	var present []string // all the time
	for _, c := range f.consumers {
		if _, there := f.before[c]; there {
			present = append(present, c.name)
		}
	}
	if p.unreliable {
		f.windows = []window{{to: time.Now()}}
	}
	v := f.records.judge(f.windows, timeout, present, p)
	f.t.Logf("%s: %v", f.name, v)
	f.t.Logf("%s: attempts: %s; failed: %s", f.name, counts(v.attempts), counts(v.failed))
	assert.Empty(f.t, f.records.bad, "unknown reports")
	requireNone(f.t, v.twice, "ran twice")
	requireNone(f.t, v.late, "began after their deadline")
	requireNone(f.t, v.disorder, "streams were out of order")
	requireNone(f.t, v.unexcused, "failed without a fault")
	requireNone(f.t, v.lostUnexcused, "were lost without a fault")
	for kind, lost := range v.lost {
		assert.Contains(f.t, p.mayLose, kind, "%d lost", lost)
	}
	for failure := range v.failed {
		code := strings.Fields(failure)[1]
		assert.Contains(f.t, []string{"unavailable", "deadline_exceeded"}, code, failure)
	}
	f.requireFlat(p.grows)
	return v
}

// requireNone requires that there are no cases, and shows the first few.
func requireNone(t *testing.T, cases []string, what string) {
	t.Helper()
	assert.Empty(t, cases[:min(len(cases), 5)], "%d %s", len(cases), what)
}

// requireFlat requires that the processes that were there from the begin use no more than before,
// unless grows says why they may.
func (f *fleet) requireFlat(grows string) {
	f.t.Helper()
	var most usage
	for p, before := range f.before {
		if !p.runs() {
			continue
		}
		var after, more usage
		flat := func() bool {
			after = p.usage()
			more = usage{after.goroutines - before.goroutines, after.descriptors - before.descriptors, after.heap - before.heap}
			return more.goroutines <= 5 && more.descriptors <= 2 && more.heap <= 4<<20
		}
		for deadline := time.Now().Add(10 * time.Second); !flat() && grows == "" && time.Now().Before(deadline); {
			pause(500 * time.Millisecond) // streams and connections whose peer has vanished end by timeouts
		}
		if grows == "" {
			assert.True(f.t, flat(), "%s uses more: before %v, after %v", p.name, before, after)
		}
		most = usage{max(most.goroutines, more.goroutines), max(most.descriptors, more.descriptors), max(most.heap, more.heap)}
	}
	f.t.Logf("%s: the processes use at most %v more than before %s", f.name, most, grows)
}

// pause lets the attempts go on for d.
func pause(d time.Duration) { <-time.After(d) }

// formatSeed returns the seed for the processes.
func formatSeed() string { return strconv.FormatUint(*seed, 10) }
