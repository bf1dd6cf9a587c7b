package natsbus

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// A frame is misrouted if the NATS server gives it to a process that does not serve its method.
// That process must forward the frame, so the frame is sent twice (see misrouted.go). A publisher
// avoids this by publishing on the private subject of the method (see subjects). psrpc processes do
// not know that subject, so the publisher uses it only while all members of the queue group appear
// to be dynpsrpc processes.
//
// To find out, it sends about one in 36 frames to the queue group as a sample. While frames are
// misrouted, dynpsrpc processes acknowledge samples; psrpc processes never do. Frames without a
// delivery report always go to the queue group, because the publisher would not notice if no
// process received them. So do large frames, because the bus would have to keep them until it knows
// the outcome.

const (
	// sampleDigit is the last digit of the tokens of samples, the frames that test whether a queue
	// group contains psrpc processes. Tokens are written in base 36.
	sampleDigit = '0'
	// minSamples is the number of consecutive samples that must be acknowledged before frames are
	// published directly. If one of 16 members is a psrpc process, the probability that all of
	// these samples reach other members is 2 %.
	minSamples = 64
	// maxSamples is the maximum number of samples of a routing key that may be waiting for an
	// acknowledgement at the same time. The results of further samples are ignored.
	maxSamples = 64
	// closedFor is the time for which the bus suspends direct publication after two samples in
	// close succession have not been acknowledged.
	closedFor = 10 * time.Second
	// misroutingWindow is the time for which a member acknowledges samples after it has received a
	// forwarded sample. If no frames are misrouted, members do not acknowledge samples, because
	// direct publication would save nothing.
	misroutingWindow = 5 * time.Minute
	// maxRoutes is the maximum number of routing keys whose samples a bus counts.
	maxRoutes = 1024
)

// isSample reports whether a frame with this reply subject is a sample.
func isSample(reply string) bool { return reply != "" && reply[len(reply)-1] == sampleDigit }

// directRoutes contains a [directRoute] for each routing key for which samples have been
// acknowledged.
type directRoutes struct {
	// sampleTimeout is the time after which a sample counts as not acknowledged.
	sampleTimeout time.Duration
	// byKey is nil until a sample has been acknowledged. The map is never modified. Instead, add
	// replaces it with a larger one.
	byKey atomic.Pointer[map[queueKey]*directRoute]
}

// find returns the route of a queue and a routing key, or nil if there is none.
func (d *directRoutes) find(subject, key string) *directRoute {
	routes := d.byKey.Load()
	if routes == nil {
		return nil
	}
	return (*routes)[queueKey{subject: subject, routingKey: key}]
}

// add creates the route of a queue and a routing key. It returns nil if there are already maxRoutes
// routes. Only the dispatcher calls add.
func (d *directRoutes) add(key queueKey, private string) *directRoute {
	next := map[queueKey]*directRoute{}
	if routes := d.byKey.Load(); routes != nil {
		if len(*routes) >= maxRoutes {
			return nil
		}
		maps.Copy(next, *routes)
	}
	route := &directRoute{private: private, sampleTimeout: d.sampleTimeout}
	next[key] = route
	d.byKey.Store(&next)
	return route
}

// directRoute decides whether the frames of one routing key are published directly. All methods are
// safe for concurrent use.
type directRoute struct {
	// private is the private subject on which the frames are published directly.
	private       string
	sampleTimeout time.Duration
	// open reports whether frames are published directly.
	open atomic.Bool

	// mu guards the fields below, and is held while open changes.
	mu sync.Mutex
	// samples contains the latest samples, oldest first.
	samples []sample
	// acknowledged is the number of samples that have been acknowledged since the last sample that
	// was not.
	acknowledged int
	closedUntil  time.Time
}

type sample struct {
	token        uint64
	sent         time.Time
	acknowledged bool
}

// sent records that a sample is about to be published.
func (r *directRoute) sent(token uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.forget(now)
	if len(r.samples) < maxSamples {
		r.samples = append(r.samples, sample{token: token, sent: now})
	}
}

// forget removes samples, oldest first, until it reaches one whose acknowledgement may still
// arrive. It calls missed for each sample that has not been acknowledged in time. mu must be
// locked.
func (r *directRoute) forget(now time.Time) {
	known := 0
	for _, s := range r.samples {
		if !s.acknowledged && now.Sub(s.sent) < r.sampleTimeout {
			break
		}
		if !s.acknowledged {
			r.missed(now)
		}
		known++
	}
	r.samples = append(r.samples[:0], r.samples[known:]...)
}

// missed is called if a sample has not been acknowledged in time. A single missing acknowledgement
// only restarts the count of acknowledged samples, because it may be late, or the member may have
// ended. If another one is missing before minSamples samples have been acknowledged, missed turns
// direct publication off. mu must be locked.
func (r *directRoute) missed(now time.Time) {
	if r.acknowledged < minSamples && r.open.Swap(false) {
		r.closedUntil = now.Add(closedFor)
	}
	r.acknowledged = 0
}

// acknowledge records that a sample has been acknowledged.
func (r *directRoute) acknowledge(token uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for i := range r.samples {
		if s := &r.samples[i]; s.token == token && !s.acknowledged {
			s.acknowledged = true
			r.acknowledged++
		}
	}
	r.forget(now)
	if r.acknowledged >= minSamples && now.After(r.closedUntil) {
		r.open.Store(true)
	}
}

// close turns direct publication off because no process has received a frame on the private
// subject.
func (r *directRoute) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acknowledged = 0
	r.open.Store(false)
}

// directReport is the delivery report of a frame that is published directly.
type directReport struct {
	// send publishes a frame.
	send  func(outgoing) error
	route *directRoute
	// out is the frame together with its publisher's report.
	out outgoing
}

// Delivered implements bus.DeliveryReport. It publishes the frame to the queue group if no process
// has received it on the private subject, or if the server has denied that subject.
func (r *directReport) Delivered(receivers int, err error) {
	if !isDenied(err) && (err != nil || receivers != 0) {
		r.out.report.Delivered(receivers, err)
		return
	}
	r.route.close()
	if r.send(r.out) != nil {
		// No process has received the frame directly, and it could not be sent to the queue group.
		r.out.report.Delivered(0, nil)
	}
}

var _ bus.DeliveryReport = (*directReport)(nil)
