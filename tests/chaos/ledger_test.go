//go:build chaos && unix

package chaos_test

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
	// attempts and runs are by ID.
	attempts map[string]attempt
	runs     map[string][]execution
	// sequences contains the numbers of the messages of each stream, in the order of arrival.
	sequences map[string][]int
	bad       []string
}

// attempt is a call, a message on a stream or an update, as its client saw it.
type attempt struct {
	kind, code, reason string
	begun, ended       time.Time
}

func (a attempt) failed() bool { return a.code != "-" }

// execution is a handler that has begun, or a message that has arrived.
type execution struct {
	kind, who string
	at        time.Time
}

func newLedger() *ledger {
	return &ledger{attempts: map[string]attempt{}, runs: map[string][]execution{}, sequences: map[string][]int{}}
}

// note records a line of the process who.
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
	default:
		l.bad = append(l.bad, who+": "+line)
	}
}

func moment(nanoseconds string) time.Time {
	n, _ := strconv.ParseInt(nanoseconds, 10, 64)
	return time.Unix(0, n)
}

// window is a time in which attempts may fail.
type window struct{ from, to time.Time }

func (w window) touches(a attempt) bool { return a.begun.Before(w.to) && a.ended.After(w.from) }

// toAll reports whether every server or consumer gets what an attempt of the kind sends.
func toAll(kind string) bool { return kind == "multi" || kind == "all" }

// verdict is what a ledger proves.
type verdict struct {
	// attempts counts the attempts by kind, and failed those that failed by kind, code and reason.
	attempts, failed map[string]int
	// unexcused contains the failures outside of the windows.
	unexcused []string
	// runs counts the executions. twice contains the IDs that ran more than once, late those that
	// began after their deadline, disorder the streams whose messages did not arrive in order.
	runs                  int
	twice, late, disorder []string
	// lost counts the attempts that succeeded although nothing arrived, by kind. lostUnexcused
	// contains those outside of the windows.
	lost          map[string]int
	lostUnexcused []string
}

// judge judges the reports by what the test expects. consumers are those that were there all the
// time.
func (l *ledger) judge(windows []window, timeout time.Duration, consumers []string, p promises) *verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &verdict{attempts: map[string]int{}, failed: map[string]int{}, lost: map[string]int{}}
	excused := func(a attempt) bool { return slices.ContainsFunc(windows, func(w window) bool { return w.touches(a) }) }
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

// missing returns who should have got the message or update of a successful attempt and did not.
// Calls are not judged: they succeed because of an answer.
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

// tooLate is by how much a run may begin after its deadline: the time between the check and the
// report of a process that the machine does not schedule.
const tooLate = 100 * time.Millisecond

// judgeRuns judges the executions of one ID.
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

// String returns the figures of a verdict.
func (v *verdict) String() string {
	return fmt.Sprintf("attempts %d, failed %d, failed without a fault %d; runs %d, twice %d, late %d, out of order %d; "+
		"lost %s, lost without a fault %d",
		sum(v.attempts), sum(v.failed), len(v.unexcused), v.runs, len(v.twice), len(v.late), len(v.disorder),
		counts(v.lost), len(v.lostUnexcused))
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
