package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// maxReports is how many frames may be on their way to the server before the oldest one's report is forgotten. That
// costs no more than a call which nobody listens to and which ends by its timeout.
const maxReports = 4096

// reports are those of frames that the server has not confirmed. A frame's token is its place in the sequence of all
// that were published with a report.
type reports struct {
	firstAdded chan struct{} // a report was added to none

	mu       sync.Mutex
	ring     [maxReports]pendingReport // a token's place is its remainder
	newest   uint64                    // the newest token
	current  uint64                    // the newest one at the last call of age
	previous uint64                    // the newest one at the call before
	finished uint64                    // this one and all before it are gone
	failed   uint64                    // this one and all before it that were pending at the time were lost
}

type pendingReport struct {
	token   uint64
	subject string
	report  bus.DeliveryReport // nil if it is gone
}

func newReports() reports { return reports{firstAdded: make(chan struct{}, 1)} }

// add returns the token of a frame that is about to be published.
func (r *reports) add(subject string, report bus.DeliveryReport) (token uint64) {
	r.mu.Lock()
	first := r.newest == r.finished
	r.newest++
	token = r.newest
	*r.slot(token) = pendingReport{token: token, subject: subject, report: report}
	r.mu.Unlock()
	if first {
		select {
		case r.firstAdded <- struct{}{}:
		default:
		}
	}
	return token
}

func (r *reports) slot(token uint64) *pendingReport { return &r.ring[token%maxReports] }

// remove returns nil if the report is gone.
func (r *reports) remove(token uint64) bus.DeliveryReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removeLocked(token)
}

func (r *reports) removeLocked(token uint64) bus.DeliveryReport {
	pending := r.slot(token)
	if pending.token != token {
		return nil
	}
	report := pending.report
	pending.report = nil
	return report
}

// removeSubject returns the reports of frames for subject.
func (r *reports) removeSubject(subject string) (reports []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		if pending := &r.ring[i]; pending.report != nil && pending.subject == subject {
			reports = append(reports, pending.report)
			pending.report = nil
		}
	}
	return reports
}

// cancel takes back the report of a frame that could not be published. It reports false if the report was told
// already that the frame is lost.
func (r *reports) cancel(token uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removeLocked(token) != nil || token > r.failed
}

// rotate makes what was added before the last call of it old.
func (r *reports) rotate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.previous, r.current = r.current, r.newest
}

// confirmPrevious forgets the reports that are old: their frames have been taken by the server, and if nobody had listened it
// would have said so.
func (r *reports) confirmPrevious() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(r.previous, nil)
}

// failAll returns all that are pending, and forgets them.
func (r *reports) failAll() (failed []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.newest
	r.dropLocked(r.newest, func(report bus.DeliveryReport) { failed = append(failed, report) })
	return failed
}

func (r *reports) dropLocked(upTo uint64, each func(bus.DeliveryReport)) {
	first := r.finished + 1
	if r.newest >= maxReports {
		first = max(first, r.newest-maxReports+1)
	}
	for token := first; token <= upTo; token++ {
		if report := r.removeLocked(token); report != nil && each != nil {
			each(report)
		}
	}
	r.finished = max(r.finished, upTo)
}

// pending reports whether there are any that settle has not seen.
func (r *reports) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest > r.finished
}
