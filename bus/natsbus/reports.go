package natsbus

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// maxReports is the capacity of the ring of pending reports. If more frames are unconfirmed, the
// oldest reports are overwritten. Losing a report only costs time: a call without a server then
// fails at its timeout instead of immediately.
const maxReports = 4096

// reports holds the delivery reports of frames that the server has not confirmed yet. A token,
// which is a consecutive number, identifies each report. Modulo maxReports, it is the index in the
// ring.
//
// The server sends a no-responders status if a frame has no receivers, before the PONG of the next
// flush. A flush that starts after a frame was sent therefore confirms the frame if there is no
// such status.
type reports struct {
	// firstAdded receives a value when a report is added while no other report is pending. Its
	// capacity is one.
	firstAdded chan struct{}

	mu   sync.Mutex
	ring [maxReports]pendingReport
	// newest is the most recently issued token.
	newest uint64
	// current is the value that newest had when rotate was last called. Reports with a higher token
	// belong to the generation that is still being filled.
	current uint64
	// previous is the value that current had before the last call to rotate. A successful flush
	// confirms all reports up to this token.
	previous uint64
	// finished is the token up to which all reports have been confirmed or have failed.
	finished uint64
	// failed is the newest token at the last call to failAll. All reports up to this token that had
	// not been confirmed have failed.
	failed uint64
}

type pendingReport struct {
	token   uint64
	subject string
	report  bus.DeliveryReport // is nil if the report has been removed
}

func newReports() reports { return reports{firstAdded: make(chan struct{}, 1)} }

// add stores the report of a frame that is about to be published and returns the frame's token.
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

// remove removes and returns the report with the given token. It returns nil if the report is no
// longer pending.
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

// replace sets the subject and the report of a frame that has not been published yet. It does
// nothing if the report is no longer pending.
func (r *reports) replace(token uint64, subject string, report bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pending := r.slot(token); pending.token == token && pending.report != nil {
		pending.subject, pending.report = subject, report
	}
}

// subject returns the subject of the frame with the given token. It returns "" if the subject is no
// longer known.
func (r *reports) subject(token uint64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pending := r.slot(token); pending.token == token {
		return pending.subject
	}
	return ""
}

// removeSubject removes and returns the reports of all frames published on subject.
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
// already removed the report. In that case, Publish must return nil, because the caller of failAll
// passes an error to the report.
func (r *reports) cancel(token uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removeLocked(token) != nil || token > r.failed
}

// rotate starts a new generation of reports. Reports that were added before the preceding call to
// rotate become the previous generation, which the next flush confirms. It does not confirm newer
// reports, because a token is issued before its frame is sent, so the flush may start in between.
func (r *reports) rotate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.previous, r.current = r.current, r.newest
}

// confirmPrevious drops the reports of the previous generation after a successful flush. The server
// has accepted their frames and would have sent a status if there had been no subscribers.
func (r *reports) confirmPrevious() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(r.previous, nil)
}

// failAll removes and returns all pending reports. The caller must report their frames as lost.
func (r *reports) failAll() (failed []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.newest
	r.dropLocked(r.newest, func(report bus.DeliveryReport) { failed = append(failed, report) })
	return failed
}

// dropLocked removes all reports up to and including token upTo. If visit is not nil, dropLocked
// calls it for every removed report.
func (r *reports) dropLocked(upTo uint64, visit func(bus.DeliveryReport)) {
	first := r.finished + 1
	if r.newest >= maxReports {
		first = max(first, r.newest-maxReports+1)
	}
	for token := first; token <= upTo; token++ {
		if report := r.removeLocked(token); report != nil && visit != nil {
			visit(report)
		}
	}
	r.finished = max(r.finished, upTo)
}

// pending reports whether the outcome of any frame with a report is still unknown.
func (r *reports) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest > r.finished
}
