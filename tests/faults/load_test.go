package faults

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

const (
	pace  = 10 * time.Millisecond  // between two attempts of a worker
	slack = 700 * time.Millisecond // by which an attempt may end late, for machines that are busy

	brief   = 300 * time.Millisecond // the timeout of attempts that will fail
	patient = 20 * time.Second       // that of attempts that must not
)

// attempt does something with an id that no other attempt has, and returns within a timeout.
type attempt func(id string) error

// load is workers of one kind, who make one attempt after the other until they are stopped.
type load struct {
	kind string
	life chan struct{}
	work sync.WaitGroup

	mu        sync.Mutex
	counts    map[errors.ErrorCode]int
	examples  map[errors.ErrorCode]error
	slowest   time.Duration
	successes []chan time.Time // who wait for the next one
	failures  []chan time.Time
}

var attempts atomic.Int64

// startLoad starts a worker for each attempt. They end with the test, if they are not stopped
// before.
func startLoad(t testing.TB, kind string, workers ...attempt) *load {
	t.Helper()
	l := &load{
		kind: kind, life: make(chan struct{}),
		counts: map[errors.ErrorCode]int{}, examples: map[errors.ErrorCode]error{},
	}
	for _, try := range workers {
		l.work.Go(func() { l.run(try) }) // stop waits for it
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
	code := scene.Code(err)
	l.counts[code]++
	l.examples[code] = err
	l.slowest = max(l.slowest, ended.Sub(started))
	waiting := &l.successes
	if err != nil {
		waiting = &l.failures
	}
	for _, signal := range *waiting {
		signal <- ended // it has room
	}
	*waiting = nil
}

// next returns a channel on which the time of the next success comes, or that of the next failure.
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

// outcomes are what is awaited of each of several loads.
type outcomes struct {
	loads   []*load
	signals []<-chan time.Time
	what    string
}

// nextSuccesses watches for a success of each load, from now on.
func nextSuccesses(loads []*load) outcomes { return nextOutcomes(loads, true, " works") }

// nextFailures watches for a failure of each load, from now on.
func nextFailures(loads []*load) outcomes { return nextOutcomes(loads, false, " fails") }

func nextOutcomes(loads []*load, success bool, what string) outcomes {
	o := outcomes{loads: loads, what: what}
	for _, l := range loads {
		o.signals = append(o.signals, l.next(success))
	}
	return o
}

// await returns when each load has had its outcome, and how long after since that was.
func (o outcomes) await(t testing.TB, since time.Time) measure {
	t.Helper()
	var taken measure
	for i, signal := range o.signals {
		taken = append(taken, scene.Soon(t, signal, o.loads[i].kind+o.what).Sub(since))
	}
	return taken
}

// stop may be called more than once, on the test's goroutine.
func (l *load) stop() {
	select {
	case <-l.life:
	default:
		close(l.life)
	}
	l.work.Wait()
}

// requireOutcomes stops the load and requires that each attempt ended by its timeout, with success
// or one of the codes.
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
