package natsbus

import (
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// handlerLag bounds the wait for nats.go to call the error handler with an error that it has.
const handlerLag = time.Second

// refusedSubject finds what the server does not permit: it says so in words, which nats.go hands on.
var refusedSubject = regexp.MustCompile(`(Subscription|Publish) to "([^"]+)"(?: using queue "([^"]+)")?`)

// heard is the last error that nats.go has told its error handler.
type heard struct {
	mu      sync.Mutex
	err     error
	another chan struct{} // closed when another error comes
	missed  error         // was waited for, and did not come
}

func (h *heard) add(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	close(h.another)
	h.another = make(chan struct{})
}

// look reports whether err has come, or else what to wait for.
func (h *heard) look(err error) (bool, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return err == h.err || err == h.missed, h.another //nolint:errorlint // that very error
}

func (h *heard) giveUp(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.missed = err
}

// hearErrors adds the bus to the connection's error handler, behind the one that is there. It returns what ends that;
// a small function that does nothing stays.
func (b *Bus) hearErrors() (end func()) {
	before := b.nc.ErrorHandler()
	var listener atomic.Pointer[Bus]
	listener.Store(b)
	b.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if before != nil {
			before(nc, sub, err)
		}
		if b := listener.Load(); b != nil {
			b.hear(err)
		}
	})
	return func() { listener.Store(nil) }
}

func (b *Bus) hear(err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		b.countDropped()
	case errors.Is(err, nats.ErrPermissionViolation):
		if found := refusedSubject.FindStringSubmatch(err.Error()); found != nil && found[1] == "Publish" {
			b.refusePublish(found[2], err)
		} else if found != nil {
			b.refuseSubscribe(address{subject: found[2], queue: found[3] == queueGroup}, err)
		}
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		b.events.Put(bus.Event{Kind: bus.Dropped, Err: errors.NewErrorf(errors.ResourceExhausted,
			"the nats server refused a subscription, whose frames will not come: %w", err)})
	}
	b.heard.add(err)
}

// hearRefusals returns when the bus knows of all that the server refused before the last round trip ended. nats.go has
// read that by then, but may not have called the error handler.
func (b *Bus) hearRefusals() {
	giveUp := time.NewTimer(handlerLag)
	defer giveUp.Stop()
	for {
		last := b.nc.LastError()
		if !errors.Is(last, nats.ErrPermissionViolation) {
			return
		}
		heard, another := b.heard.look(last)
		if heard {
			return
		}
		select {
		case <-another:
		case <-giveUp.C: // someone has set another error handler
			b.heard.giveUp(last)
			return
		case <-b.ctx.Done():
			return
		}
	}
}

func refusal(err error) error {
	return errors.NewErrorf(errors.PermissionDenied, "the nats server refuses it: %w", err)
}

func (b *Bus) refuseSubscribe(at address, err error) {
	if at.subject == b.noResponders.inboxSubject() {
		b.noResponders.denied.Store(true)
		b.options.logger.Warn("nats bus: calls that nobody listens to end by their timeout", "error", refusal(err))
		return
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	r := b.routes[at]
	if r == nil {
		return
	}
	if r.live { // until the bus reconnected; who subscribes is told otherwise
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: at.subject, Err: refusal(err)})
	}
	r.live, r.refused, r.refusedAt = false, err, b.conn.epoch()
}

// refusePublish tells the reports of the frames that are on their way to subject. The server took none of them.
func (b *Bus) refusePublish(subject string, err error) {
	refused := b.reports.takeAll(subject)
	b.publishErrors.Add(uint64(len(refused)))
	for _, report := range refused {
		report.Delivered(bus.Unknown, refusal(err))
	}
	if frames, ok := b.refusals.word(); ok {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: subject, Frames: frames, Err: refusal(err)})
	}
}
