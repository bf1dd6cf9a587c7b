package reports

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Capacity is the maximum number of pending reports. If more are added, the oldest ones are
// overwritten.
const Capacity = 4096

// Pending holds the delivery reports of frames that the server has not confirmed yet. A token,
// which is a consecutive number, identifies each report. The token modulo Capacity is the index of
// the report in the ring. Use [New] to create a Pending. All methods are safe for concurrent use.
type Pending struct {
	// firstAdded receives a value when a report is added while no other report is pending. Its
	// capacity is one.
	firstAdded chan struct{}

	// mu guards all fields below.
	mu   sync.Mutex
	ring [Capacity]entry
	// newest is the most recently issued token.
	newest uint64
	// current is the value that newest had when Rotate was last called. Reports with a higher token
	// belong to the generation that is still being filled.
	current uint64
	// previous is the value that current had before the last call to Rotate. ConfirmPrevious
	// confirms all reports up to this token.
	previous uint64
	// finished is the token up to which all reports have been confirmed or have failed.
	finished uint64
	// failed is the newest token at the last call to FailAll. All reports up to this token that had
	// not been confirmed have failed.
	failed uint64
}

// entry is the entry of one frame in the ring.
type entry struct {
	token   uint64
	subject string
	report  bus.DeliveryReport // nil if the report has been removed
}

// New returns a Pending without reports. It takes some 200 KB of memory.
func New() *Pending { return &Pending{firstAdded: make(chan struct{}, 1)} }

// FirstAdded returns a channel that receives a value when a report is added while no other report
// is pending. The owner should then call Rotate after some time. The capacity of the channel is
// one.
func (r *Pending) FirstAdded() <-chan struct{} { return r.firstAdded }

// Add stores the report of a frame that is about to be published and returns the frame's token.
func (r *Pending) Add(subject string, report bus.DeliveryReport) (token uint64) {
	r.mu.Lock()
	first := r.newest == r.finished
	r.newest++
	token = r.newest
	*r.slot(token) = entry{token: token, subject: subject, report: report}
	r.mu.Unlock()
	if first {
		select {
		case r.firstAdded <- struct{}{}:
		default:
		}
	}
	return token
}

func (r *Pending) slot(token uint64) *entry { return &r.ring[token%Capacity] }

// Remove removes and returns the report with the given token. It returns nil if the report is no
// longer pending.
func (r *Pending) Remove(token uint64) bus.DeliveryReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removeLocked(token)
}

func (r *Pending) removeLocked(token uint64) bus.DeliveryReport {
	pending := r.slot(token)
	if pending.token != token {
		return nil
	}
	report := pending.report
	pending.report = nil
	return report
}

// Replace sets the subject and the report of a frame that has not been published yet. It does
// nothing if the report is no longer pending.
func (r *Pending) Replace(token uint64, subject string, report bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pending := r.slot(token); pending.token == token && pending.report != nil {
		pending.subject, pending.report = subject, report
	}
}

// Subject returns the subject of the frame with the given token. It returns "" if the subject is no
// longer known.
func (r *Pending) Subject(token uint64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pending := r.slot(token); pending.token == token {
		return pending.subject
	}
	return ""
}

// RemoveSubject removes and returns the reports of all frames published on subject.
func (r *Pending) RemoveSubject(subject string) (removed []bus.DeliveryReport) {
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

// Cancel removes the report of a frame that could not be sent. It returns false if FailAll has
// already returned the report. In that case, the caller must not report the failure again, because
// the caller of FailAll passes an error to the report.
func (r *Pending) Cancel(token uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removeLocked(token) != nil || token > r.failed
}

// Rotate starts a new generation of reports. Reports that were added before the preceding call to
// Rotate become the previous generation, which the next flush confirms. The flush does not confirm
// newer reports: each was added before its frame was sent, so the PING may have preceded the frame.
func (r *Pending) Rotate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.previous, r.current = r.current, r.newest
}

// ConfirmPrevious drops the reports of the previous generation. It is called after the server has
// answered a PING that was sent after the last call to Rotate. The server has accepted their frames
// and would have sent a no-responders status for each frame without subscribers.
func (r *Pending) ConfirmPrevious() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(r.previous, nil)
}

// FailAll removes and returns all pending reports. The caller must report their frames as lost.
func (r *Pending) FailAll() (failed []bus.DeliveryReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.newest
	r.dropLocked(r.newest, func(report bus.DeliveryReport) { failed = append(failed, report) })
	return failed
}

// dropLocked removes all reports up to and including token upTo. If visit is not nil, dropLocked
// calls it for every removed report.
func (r *Pending) dropLocked(upTo uint64, visit func(bus.DeliveryReport)) {
	first := r.finished + 1
	if r.newest >= Capacity {
		first = max(first, r.newest-Capacity+1)
	}
	for token := first; token <= upTo; token++ {
		if report := r.removeLocked(token); report != nil && visit != nil {
			visit(report)
		}
	}
	r.finished = max(r.finished, upTo)
}

// Any reports whether the outcome of any frame with a report is still unknown.
func (r *Pending) Any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest > r.finished
}
