//go:build chaos && unix

package long_test

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
	// rate is the number of operations of each kind that a client starts per second.
	rate = 25
	// timeout is the timeout of each operation.
	timeout = 2 * time.Second
	// warmUp is how long the clients run before the first fault and after the last one.
	warmUp = time.Second
)

// broker is a broker process that can be killed and paused.
type broker interface {
	URL() string
	Kill()
	Start()
	Pause()
	Resume()
}

// fleet is a group of processes that use the same broker.
type fleet struct {
	t       *testing.T
	name    string
	url     string
	broker  broker // nil if the broker is a cluster
	records *ledger
	program string
	// direct is set if the processes connect to the broker without proxies. This is needed for
	// clusters, because their servers announce their own addresses to clients.
	direct bool

	servers, consumers, clients []*peer
	windows                     []window
	before                      map[*peer]usage
	started                     int
}

// onBrokers runs test with a fleet on Redis and with another fleet on NATS, in parallel. natsArgs
// are command-line arguments of the NATS server.
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

// newFleet returns a fleet that has no processes yet.
func newFleet(t *testing.T, name string, b broker) *fleet {
	return &fleet{t: t, name: name, url: b.URL(), broker: b, records: newLedger(), program: program, before: map[*peer]usage{}}
}

// begin starts the processes of the fleet. It records the resources that they use when they are
// idle, and then makes the clients start operations.
func (f *fleet) begin(args ...string) {
	f.t.Helper()
	f.watchStalls()
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

// peers returns the current processes of the fleet.
func (f *fleet) peers() []*peer {
	return slices.Concat(f.servers, f.consumers, f.clients)
}

// setRate sets the number of operations of each kind that each client starts per second.
func (f *fleet) setRate(rate int) {
	f.t.Helper()
	for _, c := range f.clients {
		c.setRate(rate)
	}
}

// start starts another process. Unless direct is set, the process connects to the broker through
// its own proxy.
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

// underWay is the maximum time for which an update may still be on its way after Publish has
// returned. A fault during this time can lose the update.
const underWay = 200 * time.Millisecond

// during injects a fault. Operations may fail while the fault lasts, and for the duration recovery
// after its end.
func (f *fleet) during(recovery time.Duration, fault func()) {
	w := window{from: time.Now().Add(-underWay)}
	fault()
	w.to = time.Now().Add(recovery)
	f.t.Logf("%s: a fault from %s, over at %s", f.name, w.from.Format("05.000"), w.to.Format("05.000"))
	f.windows = append(f.windows, w)
	pause(recovery)
}

// promises contains the exceptions that a test permits. Without exceptions, no request may run
// twice, late or out of order. Operations may fail only during faults, and updates may be lost only
// while a process or the broker gets no CPU time. Processes may not use more resources than before.
type promises struct {
	// mayLose contains the kinds of operations whose messages may be lost during a fault although
	// the operation succeeded.
	mayLose []string
	// mayFail contains the kinds of operations that may fail at any time.
	mayFail []string
	// unreliable is set if all operations may fail at any time.
	unreliable bool
	// grows is the reason why processes may use more resources than before. It is empty if they may
	// not.
	grows string
}

// everyUpdate contains the kinds of operations that publish updates.
var everyUpdate = []string{"one", "all"}

// streams contains the kinds of operations that use streams.
var streams = []string{"stream", "opening", "reopening"}

// end stops the operations and checks the reports of all processes.
func (f *fleet) end(p promises) *verdict {
	f.t.Helper()
	pause(warmUp)
	f.setRate(0)
	pause(3 * time.Second) // wait for updates that are still on their way
	// present contains the names of the consumers that ran during the whole test.
	var present []string
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

// requireNone requires that the list is empty. If it is not, the failure message contains the first
// few entries.
func requireNone(t *testing.T, cases []string, what string) {
	t.Helper()
	assert.Empty(t, cases[:min(len(cases), 5)], "%d %s", len(cases), what)
}

// requireFlat requires that the processes use hardly more resources than at the start of the test.
// It checks only processes that ran during the whole test. If grows is not empty, the usage is only
// logged.
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
			// Wait until streams and connections to dead processes have timed out.
			pause(500 * time.Millisecond)
		}
		if grows == "" {
			assert.True(f.t, flat(), "%s uses more: before %v, after %v", p.name, before, after)
		}
		most = usage{max(most.goroutines, more.goroutines), max(most.descriptors, more.descriptors), max(most.heap, more.heap)}
	}
	f.t.Logf("%s: the processes use at most %v more than before %s", f.name, most, grows)
}

// pause waits for the duration d, while the processes continue their operations.
func pause(d time.Duration) { <-time.After(d) }

// formatSeed returns the seed in the form of a command-line argument.
func formatSeed() string { return strconv.FormatUint(*seed, 10) }
