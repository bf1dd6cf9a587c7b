package natsbus

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// A misrouted frame costs two deliveries. If most members of a queue group serve other methods, most
// frames are misrouted. The bus of a publisher therefore publishes directly on the private subject.
// Members of psrpc would get no frames there. So the bus must have reason to believe that all members
// of the queue group are processes of dynpsrpc.
//
// The reason is a series of samples. One of 36 frames is a sample, which is always published on the
// subject of the queue. Members of dynpsrpc acknowledge samples while frames are misrouted, and
// psrpc's do not. If minSamples samples in a row have been acknowledged, the other frames are
// published directly, until two samples in close succession have not been acknowledged.
//
// Only frames with a delivery report can be samples. Frames without one, such as updates, always go
// to the queue group.

const (
	// sampleDigit is the last digit of the tokens of samples, whose base is 36.
	sampleDigit = '0'
	// minSamples is the number of consecutive samples that must be acknowledged before frames are
	// published directly. If one of 16 members belongs to psrpc, this happens in 2 % of the cases.
	minSamples = 64
	// maxSamples is the maximum number of samples that wait for their acknowledgement. More frames
	// are not considered as samples.
	maxSamples = 64
	// sampleTimeout is the time after which a sample counts as not acknowledged.
	sampleTimeout = 500 * time.Millisecond
	// closedFor is the time for which no frames are published directly after samples have not been
	// acknowledged.
	closedFor = 10 * time.Second
	// misroutingWindow is the time for which a member acknowledges samples after it has received a
	// forwarded sample. If no frames are misrouted, members acknowledge nothing.
	misroutingWindow = 5 * time.Minute
	// maxRoutes is the maximum number of routing keys for which a bus knows samples.
	maxRoutes = 1024
)

// isSample reports whether a frame with this reply subject is a sample.
func isSample(reply string) bool { return reply != "" && reply[len(reply)-1] == sampleDigit }

// acknowledgeSample sends the routing key of a sample to the publisher if frames are being misrouted.
// served reports whether this process serves the routing key.
func (b *Bus) acknowledgeSample(m *nats.Msg, key []byte, served bool) {
	isMisrouting := !served || time.Since(b.lastForwardedSample) < misroutingWindow
	if isMisrouting && b.noResponders.peerReply(m.Reply) != "" {
		_ = b.conn().Publish(m.Reply, key) // if this fails, the sample counts as not acknowledged
	}
}

// directRoutes contains the routing keys for which members have acknowledged samples.
type directRoutes struct {
	// byKey is nil as long as no sample has been acknowledged. A map is never modified.
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

// add returns the route of a queue and a routing key. It returns nil if there are too many. Only the
// dispatcher calls add.
func (d *directRoutes) add(key queueKey, private string) *directRoute {
	next := map[queueKey]*directRoute{}
	if routes := d.byKey.Load(); routes != nil {
		if len(*routes) >= maxRoutes {
			return nil
		}
		maps.Copy(next, *routes)
	}
	route := &directRoute{private: private}
	next[key] = route
	d.byKey.Store(&next)
	return route
}

// directRoute decides whether the frames of one routing key are published directly. All methods are
// safe for concurrent use.
type directRoute struct {
	private string
	// open reports whether frames are published directly.
	open atomic.Bool

	mu sync.Mutex
	// samples contains the latest samples, oldest first.
	samples []sample
	// acknowledged is the number of samples that have been acknowledged since one has not.
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

// forget removes the oldest samples whose result is known. mu must be locked.
func (r *directRoute) forget(now time.Time) {
	known := 0
	for _, s := range r.samples {
		if !s.acknowledged && now.Sub(s.sent) < sampleTimeout {
			break
		}
		if !s.acknowledged {
			r.missed(now)
		}
		known++
	}
	r.samples = append(r.samples[:0], r.samples[known:]...)
}

// missed is called if a sample has not been acknowledged in time. A single one may be late, or may
// have reached a member that has just ended. mu must be locked.
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

// close ends direct publication because nobody has received a frame.
func (r *directRoute) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acknowledged = 0
	r.open.Store(false)
}

// onSampleAcknowledged is called if a message has arrived for the frame with the given token that is
// not a no-responders status. If it acknowledges a sample, it consists of a routing key.
func (b *Bus) onSampleAcknowledged(token uint64, message []byte) {
	subject, key := b.reports.subject(token), string(message)
	private, ok := b.privateSubject(subject, key)
	if subject == "" || !ok {
		return
	}
	route := b.directRoutes.find(subject, key)
	if route == nil {
		route = b.directRoutes.add(queueKey{subject: subject, routingKey: key}, private)
	}
	if route != nil {
		route.acknowledge(token)
	}
}

// chooseSubject returns the subject on which out is published: that of the queue, or the private
// subject. token and reply belong to out.
func (b *Bus) chooseSubject(out *outgoing, token uint64, reply string) string {
	route := b.directRoutes.find(out.subject, out.key)
	switch {
	case route == nil:
	case isSample(reply):
		route.sent(token)
	case route.open.Load() && len(out.frame) <= maxRepeated && !b.privateDenied.Load():
		b.reports.replace(token, route.private, &directReport{bus: b, route: route, out: *out})
		return route.private
	}
	return out.subject
}

// directReport is the delivery report of a frame that is published directly.
type directReport struct {
	bus   *Bus
	route *directRoute
	// out is the frame, with the report of its publisher.
	out outgoing
}

// Delivered implements bus.DeliveryReport. If nobody serves the routing key on the private subject,
// it publishes the frame to the queue group.
func (r *directReport) Delivered(receivers int, err error) {
	denied := err != nil && r.bus.privateDenied.Load()
	if !denied && (err != nil || receivers != 0) {
		r.out.report.Delivered(receivers, err)
		return
	}
	r.route.close()
	if r.bus.send(r.out) != nil {
		r.out.report.Delivered(0, nil) // nobody has received the direct publication
	}
}

var _ bus.DeliveryReport = (*directReport)(nil)
