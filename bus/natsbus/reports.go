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
	added chan struct{} // a report was added to none

	mu      sync.Mutex
	ring    [maxReports]pendingReport // a token's place is its remainder
	last    uint64                    // the newest token
	young   uint64                    // the newest one at the last call of age
	old     uint64                    // the newest one at the call before
	settled uint64                    // this one and all before it are gone
	lost    uint64                    // this one and all before it that were pending at the time were lost
}

type pendingReport struct {
	token   uint64
	subject string
	report  bus.DeliveryReport // nil if it is gone
}

func newReports() reports { return reports{added: make(chan struct{}, 1)} }

// add returns the token of a frame that is about to be published.
func (r *reports) add(subject string, report bus.DeliveryReport) (token uint64) {
	r.mu.Lock()
	first := r.last == r.settled
	r.last++
	token = r.last
	*r.at(token) = pendingReport{token: token, subject: subject, report: report}
	r.mu.Unlock()
	if first {
		select {
		case r.added <- struct{}{}:
		default:
		}
	}
	return token
}

func (r *reports) at(token uint64) *pendingReport { return &r.ring[token%maxReports] }

// take returns nil if the report is gone.
func (r *reports) take(token uint64) bus.DeliveryReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(token)
}

func (r *reports) takeLocked(token uint64) bus.DeliveryReport {
	pending := r.at(token)
	if pending.token != token {
		return nil
	}
	report := pending.report
	pending.report = nil
	return report
}

// takeAll returns the reports of frames for subject.
func (r *reports) takeAll(subject string) (reports []bus.DeliveryReport) {
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

// withdraw takes back the report of a frame that could not be published. It reports false if the report was told
// already that the frame is lost.
func (r *reports) withdraw(token uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(token) != nil || token > r.lost
}

// age makes what was added before the last call of it old.
func (r *reports) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old, r.young = r.young, r.last
}

// settle forgets the reports that are old: their frames have been taken by the server, and if nobody had listened it
// would have said so.
func (r *reports) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(r.old, nil)
}

// lose returns all that are pending, and forgets them.
func (r *reports) lose() (lost []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = r.last
	r.dropLocked(r.last, func(report bus.DeliveryReport) { lost = append(lost, report) })
	return lost
}

func (r *reports) dropLocked(upTo uint64, each func(bus.DeliveryReport)) {
	first := r.settled + 1
	if r.last >= maxReports {
		first = max(first, r.last-maxReports+1)
	}
	for token := first; token <= upTo; token++ {
		if report := r.takeLocked(token); report != nil && each != nil {
			each(report)
		}
	}
	r.settled = max(r.settled, upTo)
}

// pending reports whether there are any that settle has not seen.
func (r *reports) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last > r.settled
}
