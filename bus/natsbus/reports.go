package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// maxReports is the capacity of the ring of pending reports. If more frames are unconfirmed, the
// oldest reports are overwritten. An overwritten report only costs speed: a call without a server
// then ends at its timeout instead of at once.
const maxReports = 4096

// reports holds the delivery reports of frames that the server has not confirmed. Tokens are
// consecutive numbers, and the report of a token is in slot token % maxReports.
//
// NATS does not acknowledge a publication. A report can be dropped when a later flush has
// succeeded, because a no-responders status would have arrived before the PONG. But a token exists
// before its frame is sent, so a flush may overtake the frame. Reports are therefore split into two
// generations by rotate, one interval apart, and a flush confirms only the previous generation,
// whose frames have all been sent long before.
type reports struct {
	// firstAdded has capacity one and is sent to when a report is added while none is pending.
	firstAdded chan struct{}

	mu   sync.Mutex
	ring [maxReports]pendingReport
	// newest is the last token issued.
	newest uint64
	// current is the newest token at the last rotation, and previous at the rotation before.
	current  uint64
	previous uint64
	// finished is the token up to which all reports are confirmed or failed.
	finished uint64
	// failed is the newest token at the last failAll.
	failed uint64
}

type pendingReport struct {
	token   uint64
	subject string
	report  bus.DeliveryReport // nil once removed
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

// remove removes the report of token and returns it, or nil if it is not pending anymore.
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

// removeSubject removes and returns the reports of all frames for subject.
func (r *reports) removeSubject(subject string) (removed []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		if pending := &r.ring[i]; pending.report != nil && pending.subject == subject {
			removed = append(removed, pending.report)
			pending.report = nil
		}
	}
	return removed
}

// cancel removes the report of a frame that could not be sent. It returns false if failAll has
// returned the report already, so the publisher must not return the error as well.
func (r *reports) cancel(token uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removeLocked(token) != nil || token > r.failed
}

// rotate starts a new generation: reports added before the last rotation become the previous one.
func (r *reports) rotate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.previous, r.current = r.current, r.newest
}

// confirmPrevious drops the reports of the previous generation after a successful flush. The server
// has accepted their frames and would have sent a status if there were no subscribers.
func (r *reports) confirmPrevious() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(r.previous, nil)
}

// failAll removes and returns all pending reports. The caller reports the frames as lost.
func (r *reports) failAll() (failed []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.newest
	r.dropLocked(r.newest, func(report bus.DeliveryReport) { failed = append(failed, report) })
	return failed
}

// dropLocked removes the reports up to a token and passes each of them to each, unless each is nil.
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

// pending reports whether a token has been issued that is neither confirmed nor failed.
func (r *reports) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest > r.finished
}
