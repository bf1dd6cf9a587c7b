package interop

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// In a fleet of psrpc and dynpsrpc, psrpc must lose no call that it does not lose in the same fleet
// without dynpsrpc, and must log nothing. The test runs both fleets side by side.
func TestFleet_BesidePsrpcAlone(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			mixed := fleetLoad{servers: []library{ours, theirs, ours, theirs}, clients: []library{ours, theirs}}
			alone := fleetLoad{servers: []library{theirs, theirs, theirs, theirs}, clients: []library{theirs, theirs}}
			psrpcLog.take()
			var lost, lostAlone losses
			var both sync.WaitGroup
			both.Go(mixed.start(t, b.start(t), &lost))
			both.Go(alone.start(t, b.start(t), &lostAlone))
			both.Wait()
			t.Logf("lost in the mixed fleet: %v; in psrpc's: %v", lost.counts, lostAlone.counts)
			for kind, n := range lost.counts {
				assert.LessOrEqual(t, n, lostAlone.counts[kind], kind)
			}
			assert.Empty(t, psrpcLog.take(), "lines that psrpc has logged")
		})
	}
}

// lossTimeout is how long the tests wait before something counts as lost.
const lossTimeout = 10 * time.Second

// fleetLoad is a fleet of servers and clients that use methods of every kind.
type fleetLoad struct{ servers, clients []library }

// losses counts lost calls, stream messages and updates. A key consists of the name of the client's
// library and the method.
type losses struct {
	mu     sync.Mutex
	counts map[string]int
}

func (l *losses) add(by library, method string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]int)
	}
	if n > 0 {
		l.counts[by.name+" "+method] += n
	}
}

// start starts the fleet. The returned function runs all calls and returns when they have ended. A
// call that runs twice fails the test.
func (l fleetLoad) start(t *testing.T, b broker, lost *losses) (run func()) {
	t.Helper()
	var ran runs
	servers := make([]serverPeer, len(l.servers))
	for i, library := range l.servers {
		h := ran.counted(answers(serverName(i)))
		h.affinity, h.room = float32(i+1)/10, serverName(i)
		servers[i] = library.server(t, b, h)
	}
	const updates = 50
	jobs := make(chan string, 10_000)
	var tasks []func()
	for i, library := range l.clients {
		c := &fleetClient{library, library.client(t, b), fmt.Sprintf("client %d", i), len(servers), lost}
		feed := c.subscribe(t, "Feed", nil)
		forward(c.subscribeJobs(t), jobs)
		tasks = append(tasks, func() { c.run(t) },
			func() { lost.add(library, "Feed", missing(feed, len(servers)*updates)) })
	}
	for i, s := range servers {
		tasks = append(tasks, func() {
			for n := range updates {
				assert.NoError(t, s.publish(t.Context(), "Feed", nil, fmt.Sprintf("%d from %d", n, i)))
				assert.NoError(t, s.publishJob(t.Context(), fmt.Sprintf("%d from %d", n, i)))
			}
		})
	}
	return func() {
		var all sync.WaitGroup
		for _, task := range tasks {
			all.Go(task)
		}
		all.Wait()
		lost.add(l.clients[0], "Jobs", missing(jobs, len(servers)*updates))
		assert.Empty(t, jobs, "updates of the queue that were received twice")
		ran.requireAtMostOnce(t, len(servers))
	}
}

func serverName(i int) string { return fmt.Sprintf("server %d", i) }

// forward starts a goroutine that sends all values of a channel to another one until the first one
// is closed.
func forward(from <-chan string, to chan<- string) {
	go func() {
		for value := range from {
			to <- value
		}
	}()
}

// missing reads n values of a channel and returns how many did not arrive.
func missing[T any](from <-chan T, n int) int {
	for ; n > 0; n-- {
		select {
		case <-from:
		case <-time.After(lossTimeout):
			return n
		}
	}
	return 0
}

type fleetClient struct {
	library
	clientPeer

	id      string
	servers int
	lost    *losses
}

func (c *fleetClient) run(t *testing.T) {
	var all sync.WaitGroup
	for caller := range 4 {
		all.Go(func() {
			for i := range 50 {
				c.callOnce(t, "Queue", nil, fmt.Sprintf("caller %d, call %d", caller, i))
			}
		})
	}
	all.Go(func() {
		var selected selections
		for i := range 10 {
			started := time.Now()
			answer := c.callOnce(t, "Best", nil, strconv.Itoa(i))
			if answer != "" {
				name, _, _ := strings.Cut(answer, " "+c.id)
				selected.add(t, serverName(c.servers-1), name, time.Since(started))
			}
		}
		selected.require(t)
	})
	all.Go(func() {
		for i := range 5 {
			request := fmt.Sprintf("%s Every %d", c.id, i)
			ctx, cancel := context.WithTimeout(t.Context(), lossTimeout)
			responses, err := c.every(ctx, "Every", nil, request, c.servers)
			cancel()
			assert.NoError(t, err)
			c.lost.add(c.library, "Every", c.servers-len(responses))
		}
	})
	all.Go(func() {
		for i := range 10 * c.servers {
			c.callOnce(t, "OnlyIn", []string{serverName(i % c.servers)}, strconv.Itoa(i))
		}
	})
	all.Go(func() { c.openStreams(t) })
	all.Wait()
}

// callOnce makes a call with a request that no other call has. If the call fails, callOnce counts
// it as lost and returns "".
func (c *fleetClient) callOnce(t *testing.T, method string, topic []string, request string) string {
	request = strings.Join([]string{c.id, method, request}, " ")
	response, err := c.call(t.Context(), method, topic, request)
	if err != nil {
		t.Logf("%s, %s: %v", c.name, request, err)
		c.lost.add(c.library, method, 1)
		return ""
	}
	assert.True(t, strings.HasSuffix(response, request), response)
	return response
}

func (c *fleetClient) openStreams(t *testing.T) {
	for i := range 10 {
		s, err := c.open(t.Context(), "Flow", nil)
		if err != nil {
			t.Logf("%s, stream %d: %v", c.name, i, err)
			c.lost.add(c.library, "Flow", 1)
			continue
		}
		for message := range 10 {
			if s.send(strconv.Itoa(message)) != nil || missing(s.messages, 1) > 0 {
				c.lost.add(c.library, "Flow", 1)
			}
		}
		assert.NoError(t, s.close(nil))
	}
}

// load makes calls with queue and affinity routing until it is stopped.
type load struct {
	stopped       chan struct{}
	callers       sync.WaitGroup
	calls, failed atomic.Int64
}

// requests counts the requests of all loads, so that each request is unique.
var requests atomic.Int64

// startLoad starts the given number of callers for each client.
func startLoad(t *testing.T, callers int, clients ...clientPeer) *load {
	t.Helper()
	l := &load{stopped: make(chan struct{})}
	for _, c := range clients {
		for caller := range callers {
			method := []string{"Queue", "Best"}[caller%2]
			l.callers.Go(func() { l.run(t, c, method) })
		}
	}
	return l
}

func (l *load) run(t *testing.T, c clientPeer, method string) {
	for {
		select {
		case <-l.stopped:
			return
		default:
		}
		request := strconv.FormatInt(requests.Add(1), 10)
		l.calls.Add(1)
		ctx, cancel := context.WithTimeout(t.Context(), lossTimeout)
		if _, err := c.call(ctx, method, nil, request); err != nil {
			l.failed.Add(1)
			t.Logf("%s, request %s: %v", method, request, err)
		}
		cancel()
	}
}

// stop prevents further calls and waits until the running ones have ended. It returns the number of
// failed calls.
func (l *load) stop() int {
	close(l.stopped)
	l.callers.Wait()
	return int(l.failed.Load())
}
