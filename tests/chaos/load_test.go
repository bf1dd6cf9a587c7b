package chaos

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const (
	// pace is the time between two operations of a worker.
	pace = 20 * time.Millisecond
	// slack is how long after its deadline an operation may end. It is long because the machine may
	// be busy. The other timeouts of buses, conns and servers in these tests are even longer, so an
	// operation that ignores its own deadline ends later than that.
	slack = 10 * time.Second
	// longest is how long a test waits for the next outcome of a load. It is long because a sentinel
	// that was suspended for two seconds does nothing in the next 30 seconds.
	longest = 2 * time.Minute

	brief   = 300 * time.Millisecond // the timeout of operations that may fail
	patient = 20 * time.Second       // the timeout of operations that must succeed
)

// attempt is an operation that may fail. id is unique among all operations. The operation must
// return within its timeout.
type attempt func(id string) error

// load is a group of workers. Each worker runs one operation after the other until stop is called.
type load struct {
	kind string
	life chan struct{}
	work sync.WaitGroup

	mu       sync.Mutex
	counts   map[errors.ErrorCode]int
	examples map[errors.ErrorCode]error
	slowest  time.Duration
	// successes contains the channels that must receive the time of the next success. failures
	// contains those for the next failure.
	successes []chan time.Time
	failures  []chan time.Time
}

var attempts atomic.Int64

// startLoad starts a worker for each operation. If the test does not stop the workers, they are
// stopped when it ends.
func startLoad(t testing.TB, kind string, workers ...attempt) *load {
	t.Helper()
	l := &load{
		kind: kind, life: make(chan struct{}),
		counts: map[errors.ErrorCode]int{}, examples: map[errors.ErrorCode]error{},
	}
	for _, try := range workers {
		l.work.Go(func() { l.run(try) }) // stop waits for this goroutine
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) run(try attempt) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-l.life:
			return
		case <-ticker.C:
		}
		started := time.Now()
		err := try(fmt.Sprintf("attempt-%d", attempts.Add(1)))
		l.note(err, started, time.Now())
	}
}

func (l *load) note(err error, started, ended time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	code := testkit.Code(err)
	l.counts[code]++
	l.examples[code] = err
	l.slowest = max(l.slowest, ended.Sub(started))
	waiting := &l.successes
	if err != nil {
		waiting = &l.failures
	}
	for _, signal := range *waiting {
		signal <- ended // does not block, because the channel has a free buffer slot
	}
	*waiting = nil
}

// next returns a channel that receives the time of the next success or of the next failure.
func (l *load) next(success bool) <-chan time.Time {
	signal := make(chan time.Time, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if success {
		l.successes = append(l.successes, signal)
	} else {
		l.failures = append(l.failures, signal)
	}
	return signal
}

// outcomes contains a channel for each load, which receives the time of the load's next success or
// failure.
type outcomes struct {
	loads   []*load
	signals []<-chan time.Time
	what    string
}

// nextSuccesses starts to watch for the next success of each load.
func nextSuccesses(loads []*load) outcomes { return nextOutcomes(loads, true, " works") }

// nextFailures starts to watch for the next failure of each load.
func nextFailures(loads []*load) outcomes { return nextOutcomes(loads, false, " fails") }

func nextOutcomes(loads []*load, success bool, what string) outcomes {
	o := outcomes{loads: loads, what: what}
	for _, l := range loads {
		o.signals = append(o.signals, l.next(success))
	}
	return o
}

// await waits until all channels have received a value. For each load, it returns how long after
// since that happened.
func (o outcomes) await(t testing.TB, since time.Time) measure {
	t.Helper()
	var taken measure
	giveUp := time.NewTimer(longest)
	defer giveUp.Stop()
	for i, signal := range o.signals {
		select {
		case at := <-signal:
			taken = append(taken, at.Sub(since))
		case <-giveUp.C:
			require.FailNow(t, "did not come: "+o.loads[i].kind+o.what)
		}
	}
	return taken
}

// stop stops the workers and waits for them. It may be called more than once, but only by the
// goroutine of the test.
func (l *load) stop() {
	select {
	case <-l.life:
	default:
		close(l.life)
	}
	l.work.Wait()
}

// requireOutcomes stops the load. It requires that each operation ended by its deadline, and that
// each failed with one of the allowed codes or not at all.
func (l *load) requireOutcomes(t testing.TB, timeout time.Duration, allowed ...errors.ErrorCode) {
	t.Helper()
	l.stop()
	t.Logf("%s: %v, slowest %v", l.kind, l.counts, l.slowest.Round(time.Millisecond))
	assert.Positive(t, l.counts[errors.OK], "%s: nothing succeeded", l.kind)
	assert.Less(t, l.slowest, timeout+slack, "%s: an attempt ended late", l.kind)
	for _, code := range slices.Sorted(maps.Keys(l.counts)) {
		if code != errors.OK {
			assert.Contains(t, allowed, code, "%s: %d times: %v", l.kind, l.counts[code], l.examples[code])
		}
	}
}
