package load

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Operation is what a run repeats and measures. Each caller runs one operation after the other, and
// the callers run at the same time. The context is never canceled, so an operation must end by
// itself, for example by the timeout of its call.
type Operation func(ctx context.Context, request Request) error

// Request describes one operation that a caller must run.
type Request struct {
	// Number is the number of the operation, counted from 0. Operations of the warm-up are counted,
	// too.
	Number uint64
	// Caller is the number of the caller that runs the operation.
	Caller int
	// Intended is when the operation was to start.
	Intended time.Time
	// Measured is false during the warm-up, whose operations do not count in the result.
	Measured bool
}

const (
	// hopeless is how many operations may fail without a single success before the run ends.
	hopeless = 100
	// lateEnd is how long an open loop, after its end, still starts operations that are overdue.
	lateEnd = time.Second
)

// Run repeats an operation as the plan says. When ctx ends, Run starts no more operations, waits
// for the running ones, and returns what it has measured. Run also ends if none of the first
// hundred operations succeeds. It returns an error only if the plan is invalid.
func Run(ctx context.Context, plan Plan, operation Operation) (*Result, error) {
	return runWith(ctx, plan, operation, pause)
}

// runWith is [Run], but waits for the start of an operation with the given function, as [pause]
// does.
func runWith(ctx context.Context, plan Plan, operation Operation, pause func(time.Duration)) (*Result, error) {
	plan, err := plan.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &run{plan: plan, operation: operation, pause: pause, ctx: context.WithoutCancel(ctx), stopping: make(chan struct{})}
	defer context.AfterFunc(ctx, r.stop)()
	r.start = time.Now()
	r.measureFrom = r.start.Add(plan.WarmUp)
	if plan.WarmUp > 0 && !plan.open() {
		r.callUntil(r.measureFrom, false)
		// The last calls of the warm-up may have ended late. The measured time starts only now, so
		// that it is not shortened.
		r.measureFrom = time.Now()
	}
	if plan.For > 0 {
		r.end = r.measureFrom.Add(plan.For)
	}

	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch()
	}()
	if plan.open() {
		r.openLoop()
	} else {
		r.callUntil(r.end, true)
	}
	r.stop()
	<-watched
	return r.result(), nil
}

// run is the state of one call to Run.
type run struct {
	plan      Plan
	operation Operation
	// pause lets at most the given time pass. Only tests replace it, with one that synctest can
	// follow.
	pause func(time.Duration)
	ctx   context.Context //nolint:containedctx // it has the lifetime of the run
	// start is when the loop starts, and measureFrom is when the warm-up ends. end is when the loop
	// ends. It is the zero time if only the number of operations ends the loop.
	start, measureFrom, end time.Time

	// stopping is closed when no more operations may start. stopped is then true.
	stopping chan struct{}
	stopOnce sync.Once
	stopped  atomic.Bool

	// A closed loop counts the operations that it has started: numbers counts all of them, and
	// measured counts those after the warm-up.
	numbers, measured atomic.Uint64

	completed, failed, notStarted atomic.Uint64
	// attempts is the number of operations that have ended, and successes is the number of those
	// that ended without an error. Both include the warm-up.
	attempts, successes atomic.Uint64
	latency, late       histogram
	// lastEnd is when the last measured operation ended, in nanoseconds since start.
	lastEnd atomic.Int64
	// scheduled is the planned duration of an open loop, from start on. It is 0 if the loop was
	// stopped.
	scheduled time.Duration

	mu sync.Mutex
	// errors counts the errors of measured operations by code. firstError is the first error, even
	// if it is one of the warm-up.
	errors     map[string]uint64
	firstError error

	seconds []Second
}

// stop makes the loop start no more operations. It does not wait for the running ones.
func (r *run) stop() {
	r.stopOnce.Do(func() {
		r.stopped.Store(true)
		close(r.stopping)
	})
}

// callUntil runs the callers of a closed loop until end. If end is zero, there is no limit. It
// returns earlier if the loop is stopped or the plan's number of operations is reached.
func (r *run) callUntil(end time.Time, measured bool) {
	var callers sync.WaitGroup
	for caller := range r.plan.Callers {
		callers.Go(func() { r.call(caller, end, measured) })
	}
	callers.Wait()
}

// call runs the operations of one caller, one after the other, until end.
func (r *run) call(caller int, end time.Time, measured bool) {
	start := time.Now()
	for !r.over(start, end) {
		if measured && r.plan.Count > 0 && r.measured.Add(1) > r.plan.Count {
			return
		}
		start = r.do(Request{Number: r.numbers.Add(1) - 1, Caller: caller, Intended: start, Measured: measured})
	}
}

// over reports whether the loop has been stopped, or has reached its end by now. If so, no more
// operations may start.
func (r *run) over(now, end time.Time) bool {
	return r.stopped.Load() || !end.IsZero() && !now.Before(end)
}

// openLoop starts operations as the schedule says until the loop ends. It hands each operation to
// an idle caller, which is a goroutine. If none is idle, openLoop starts another caller, or waits
// if the plan permits no more.
func (r *run) openLoop() {
	var (
		schedule = r.plan.schedule()
		warmUp   = schedule.warmUpOperations()
		requests = make(chan Request)
		callers  sync.WaitGroup
		started  int
	)
	defer callers.Wait()
	defer close(requests)
	for n := uint64(0); ; n++ {
		request := Request{Number: n, Intended: r.start.Add(schedule.at(n)), Measured: n >= warmUp}
		if r.isLast(n, warmUp) || r.over(request.Intended, r.end) {
			r.scheduled = r.planned(request.Intended)
			return
		}
		if !r.sleepUntil(request.Intended) {
			return
		}
		select {
		case requests <- request:
			continue
		default:
		}
		if started < r.plan.Callers {
			caller := started
			started++
			callers.Go(func() { r.serve(caller, requests) })
		}
		if !r.hand(requests, request) {
			r.notStarted.Add(r.remaining(schedule, max(n, warmUp)))
			return
		}
	}
}

// isLast reports whether an open loop ends before operation n because the plan limits the number of
// operations.
func (r *run) isLast(n, warmUp uint64) bool { return r.plan.Count > 0 && n >= warmUp+r.plan.Count }

// planned returns how long an open loop was planned to last. next is when its next operation would
// have started. It returns 0 if the loop was stopped.
func (r *run) planned(next time.Time) time.Duration {
	switch {
	case r.stopped.Load():
		return 0
	case !r.end.IsZero() && next.After(r.end):
		return r.end.Sub(r.start)
	default:
		return next.Sub(r.start)
	}
}

// hand gives the request to the next caller that becomes idle. It returns false if the loop is
// stopped first, or if lateEnd has passed since the end of the loop.
func (r *run) hand(requests chan<- Request, request Request) bool {
	var tooLate <-chan time.Time
	if !r.end.IsZero() {
		timer := time.NewTimer(time.Until(r.end.Add(lateEnd)))
		defer timer.Stop()
		tooLate = timer.C
	}
	select {
	case requests <- request:
		return true
	case <-tooLate:
	case <-r.stopping:
	}
	return false
}

// remaining returns how many operations should have started before the end but have not. Operation
// first is the first of them. It returns 0 if the loop was stopped.
func (r *run) remaining(schedule schedule, first uint64) uint64 {
	n := first
	for !r.isLast(n, schedule.warmUpOperations()) && !r.over(r.start.Add(schedule.at(n)), r.end) {
		n++
	}
	return n - first
}

// serve runs the operations that an open loop hands to one caller.
func (r *run) serve(caller int, requests <-chan Request) {
	for request := range requests {
		request.Caller = caller
		if request.Measured {
			r.late.add(time.Since(request.Intended))
		}
		r.do(request)
	}
}

// do runs one operation and records its outcome. It returns the time at which the operation ended.
func (r *run) do(request Request) time.Time {
	err := r.operation(r.ctx, request)
	now := time.Now()
	if err == nil {
		r.successes.Add(1)
	} else {
		r.countError(err, request.Measured)
	}
	if r.attempts.Add(1) >= hopeless && r.successes.Load() == 0 {
		r.stop()
	}
	if !request.Measured {
		return now
	}
	if err == nil {
		r.completed.Add(1)
		r.latency.add(now.Sub(request.Intended))
	} else {
		r.failed.Add(1)
	}
	for end := int64(now.Sub(r.start)); ; {
		last := r.lastEnd.Load()
		if end <= last || r.lastEnd.CompareAndSwap(last, end) {
			return now
		}
	}
}

func (r *run) countError(err error, measured bool) {
	code := string(errors.Unknown)
	if coded, ok := errors.AsType[errors.Error](err); ok {
		code = string(coded.Code())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.firstError == nil {
		r.firstError = err
	}
	if !measured {
		return
	}
	if r.errors == nil {
		r.errors = map[string]uint64{}
	}
	r.errors[code]++
}

// maxSeconds is the maximum number of entries in [Result].Seconds. If a run lasts longer, they
// describe its first seconds.
const maxSeconds = 24 * 60 * 60

// watch records once a second what has happened in that second, until the run stops. It does not
// record the last second, which is incomplete.
func (r *run) watch() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var before, now counts
	var completed, failed uint64
	for {
		select {
		case <-ticker.C:
		case <-r.stopping:
			return
		}
		second := Second{
			At: time.Since(r.measureFrom), Completed: r.completed.Load() - completed, Failed: r.failed.Load() - failed,
		}
		if second.At < 0 {
			continue
		}
		completed, failed = completed+second.Completed, failed+second.Failed
		r.latency.read(&now)
		difference := now
		difference.sub(&before)
		before = now
		second.P50, second.P99 = difference.quantile(0.5), difference.quantile(0.99)
		if len(r.seconds) < maxSeconds {
			r.seconds = append(r.seconds, second)
		}
		if r.plan.Progress != nil {
			r.plan.Progress(second)
		}
	}
}

func (r *run) result() *Result {
	elapsed := max(time.Duration(r.lastEnd.Load()), r.scheduled) - r.measureFrom.Sub(r.start)
	result := &Result{
		Started: r.measureFrom, Elapsed: max(elapsed, 0),
		Completed: r.completed.Load(), Failed: r.failed.Load(), NotStarted: r.notStarted.Load(),
		Latency: r.latency.summary(), Errors: r.errors, Err: r.firstError, Seconds: r.seconds,
	}
	if r.firstError != nil {
		result.FirstError = r.firstError.Error()
	}
	result.Operations = result.Completed + result.Failed
	if elapsed > 0 {
		result.PerSecond = float64(result.Completed) / elapsed.Seconds()
	}
	if r.plan.open() {
		late := r.late.summary()
		result.Late = &late
	}
	return result
}

// sleepUntil waits until the given time. It returns false if the run is stopped first.
func (r *run) sleepUntil(at time.Time) bool {
	for !r.stopped.Load() {
		left := time.Until(at)
		if left <= 0 {
			return true
		}
		r.pause(min(left, stopCheck))
	}
	return false
}

// pause lets a little less time pass than the given one, because a sleep always ends a little late.
// If the time is short, it only yields the processor.
func pause(d time.Duration) {
	if d < minSleep {
		runtime.Gosched()
	} else {
		sleep(d - minSleep/2)
	}
}

// minSleep is the time below which an open loop spins instead of sleeping, because waking up takes
// about as long.
const minSleep = 100 * time.Microsecond

// stopCheck is the longest time for which an open loop sleeps before it checks whether it was
// stopped.
const stopCheck = 50 * time.Millisecond
