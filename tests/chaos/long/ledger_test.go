//go:build chaos && unix

package long_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ledger contains the reports of all processes of a fleet.
type ledger struct {
	mu sync.Mutex
	// attempts and runs are keyed by the ID of the operation.
	attempts map[string]attempt
	runs     map[string][]execution
	// sequences contains the message numbers of each stream, in the order in which they arrived. It
	// is keyed by the ID of the stream.
	sequences map[string][]int
	// stalls contains the periods in which the test, a process or the broker got no CPU time.
	stalls []window
	bad    []string
}

// attempt is the report of a client about an operation: a call, a stream message or an update.
type attempt struct {
	kind, code, reason string
	begun, ended       time.Time
}

func (a attempt) failed() bool { return a.code != "-" }

// execution is the report of a process that has started a handler or received a message.
type execution struct {
	kind, who string
	at        time.Time
}

func newLedger() *ledger {
	return &ledger{attempts: map[string]attempt{}, runs: map[string][]execution{}, sequences: map[string][]int{}}
}

// note records a line of output of the process named who.
func (l *ledger) note(who, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	words := strings.Fields(line)
	switch {
	case len(words) == 4 && words[0] == "ran":
		kind, id := words[1], words[2]
		l.runs[id] = append(l.runs[id], execution{kind, who, moment(words[3])})
		if kind == "stream" {
			cut := strings.LastIndexByte(id, '-')
			number, _ := strconv.Atoi(id[cut+1:])
			l.sequences[id[:cut]] = append(l.sequences[id[:cut]], number)
		}
	case len(words) == 7 && words[0] == "ended":
		l.attempts[words[2]] = attempt{
			kind: words[1], begun: moment(words[3]), ended: moment(words[4]), code: words[5], reason: words[6],
		}
	case len(words) == 3 && words[0] == "stalled":
		l.stalls = append(l.stalls, window{moment(words[1]), moment(words[2])})
	default:
		l.bad = append(l.bad, who+": "+line)
	}
}

func moment(nanoseconds string) time.Time {
	n, _ := strconv.ParseInt(nanoseconds, 10, 64)
	return time.Unix(0, n)
}

// window is a period of time in which operations may fail.
type window struct{ from, to time.Time }

func (w window) touches(a attempt) bool { return a.begun.Before(w.to) && a.ended.After(w.from) }

// touched reports whether an operation overlaps with one of the windows.
func touched(windows []window, a attempt) bool {
	return slices.ContainsFunc(windows, func(w window) bool { return w.touches(a) })
}

// toAll reports whether an operation of this kind reaches all servers or all consumers.
func toAll(kind string) bool { return kind == "multi" || kind == "all" }

// verdict is the result of the evaluation of a ledger.
type verdict struct {
	stalls int
	// attempts is the number of operations, keyed by kind. failed is the number of failed
	// operations, keyed by kind, code and reason.
	attempts, failed map[string]int
	// unexcused contains the operations that failed outside all windows.
	unexcused []string
	// runs is the number of executions. twice contains the operations that ran more than once. late
	// contains those that ran after their deadline. disorder contains the streams whose messages
	// arrived out of order.
	runs                  int
	twice, late, disorder []string
	// lost is the number of operations that succeeded although their message did not arrive, keyed
	// by kind. lostUnexcused contains those that were lost outside all windows.
	lost          map[string]int
	lostUnexcused []string
	// lostInStalls is the number of updates that were lost while the test, a process or the broker
	// got no CPU time. They are not counted in lost.
	lostInStalls int
}

// judge evaluates the reports. consumers contains the names of the consumers that ran during the
// whole test.
func (l *ledger) judge(windows []window, timeout time.Duration, consumers []string, p promises) *verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &verdict{stalls: len(l.stalls), attempts: map[string]int{}, failed: map[string]int{}, lost: map[string]int{}}
	// On a busy machine, a stall has the same effects as a fault.
	var stalls []window
	for _, s := range l.stalls {
		stalls = append(stalls, window{s.from.Add(-underWay), s.to.Add(recovery)})
	}
	excused := func(a attempt) bool { return touched(windows, a) || touched(stalls, a) }
	for id, a := range l.attempts {
		v.attempts[a.kind]++
		if a.failed() {
			v.failed[a.kind+" "+a.code+" "+a.reason]++
			if !excused(a) && !slices.Contains(p.mayFail, a.kind) {
				v.unexcused = append(v.unexcused, fmt.Sprintf("%s %s at %s for %v: %s %s", a.kind, id,
					a.begun.Format("05.000"), a.ended.Sub(a.begun).Round(time.Millisecond), a.code, a.reason))
			}
			continue
		}
		if missing := l.missing(id, a.kind, consumers); missing != "" {
			if slices.Contains(everyUpdate, a.kind) && touched(stalls, a) {
				v.lostInStalls++
				continue
			}
			v.lost[a.kind]++
			if !excused(a) {
				v.lostUnexcused = append(v.lostUnexcused, fmt.Sprintf("%s %s at %s", a.kind, id, missing))
			}
		}
	}
	for id, runs := range l.runs {
		v.runs += len(runs)
		v.judgeRuns(id, runs, l.attempts, timeout)
	}
	for id, numbers := range l.sequences {
		if !slices.IsSorted(numbers) {
			v.disorder = append(v.disorder, id)
		}
	}
	return v
}

// missing returns the name of a consumer that did not receive the message of a successful
// operation, or "any" if no process received it. It returns "" if nothing is missing. It does not
// check calls, because a successful call has received a response.
func (l *ledger) missing(id, kind string, consumers []string) string {
	got := func(who string) bool {
		return slices.ContainsFunc(l.runs[id], func(e execution) bool { return e.who == who })
	}
	switch kind {
	case "stream", "one":
		if len(l.runs[id]) == 0 {
			return "any"
		}
	case "all":
		for _, who := range consumers {
			if !got(who) {
				return who
			}
		}
	}
	return ""
}

// tooLate is how long after its deadline a handler may report that it has started. On a busy
// machine, some time may pass between the check of the deadline and the report.
const tooLate = 300 * time.Millisecond

// judgeRuns evaluates the executions of one operation.
func (v *verdict) judgeRuns(id string, runs []execution, attempts map[string]attempt, timeout time.Duration) {
	perPlace := map[string]int{}
	for _, e := range runs {
		place := e.kind
		if toAll(e.kind) {
			place += " " + e.who
		}
		perPlace[place]++
		a, known := attempts[id]
		if isCall := e.kind != "one" && e.kind != "all"; isCall && known && e.at.After(a.begun.Add(timeout+tooLate)) {
			v.late = append(v.late, fmt.Sprintf("%s %s at %s: %v after it was sent, %s", e.kind, id, e.who, e.at.Sub(a.begun), a.code))
		}
	}
	for place, times := range perPlace {
		if times > 1 {
			v.twice = append(v.twice, fmt.Sprintf("%s %s: %d times, %v", place, id, times, runs))
		}
	}
}

// String returns the counts of a verdict.
func (v *verdict) String() string {
	return fmt.Sprintf("attempts %d, failed %d, failed without a fault %d; runs %d, twice %d, late %d, out of order %d; "+
		"lost %s, lost without a fault %d; stalls %d, lost in them %d",
		sum(v.attempts), sum(v.failed), len(v.unexcused), v.runs, len(v.twice), len(v.late), len(v.disorder),
		counts(v.lost), len(v.lostUnexcused), v.stalls, v.lostInStalls)
}

func sum(counts map[string]int) (total int) {
	for _, count := range counts {
		total += count
	}
	return total
}

func counts(by map[string]int) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %d", key, by[key]))
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}
