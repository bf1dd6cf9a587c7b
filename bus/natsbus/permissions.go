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

// handlerTimeout bounds the wait for nats.go to call the error handler with an error that it has.
const handlerTimeout = time.Second

// deniedSubject finds what the server does not permit: it says so in words, which nats.go hands on.
var deniedSubject = regexp.MustCompile(`(Subscription|Publish) to "([^"]+)"(?: using queue "([^"]+)")?`)

// asyncErrors is the last error that nats.go has told its error handler.
type asyncErrors struct {
	mu      sync.Mutex
	last    error
	changed chan struct{} // closed when another error comes
	skipped error         // was waited for, and did not come
}

func (h *asyncErrors) record(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = err
	close(h.changed)
	h.changed = make(chan struct{})
}

// seen reports whether err has come, or else what to wait for.
func (h *asyncErrors) seen(err error) (bool, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return err == h.last || err == h.skipped, h.changed //nolint:errorlint // that very error
}

func (h *asyncErrors) skip(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skipped = err
}

// attachErrorHandler adds the bus to the connection's error handler, behind the one that is there. It returns what ends that;
// a small function that does nothing stays.
func (b *Bus) attachErrorHandler() (detach func()) {
	before := b.nc.ErrorHandler()
	var listener atomic.Pointer[Bus]
	listener.Store(b)
	b.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if before != nil {
			before(nc, sub, err)
		}
		if b := listener.Load(); b != nil {
			b.onAsyncError(err)
		}
	})
	return func() { listener.Store(nil) }
}

func (b *Bus) onAsyncError(err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		b.countDropped()
	case errors.Is(err, nats.ErrPermissionViolation):
		if found := deniedSubject.FindStringSubmatch(err.Error()); found != nil && found[1] == "Publish" {
			b.onPublishDenied(found[2], err)
		} else if found != nil {
			b.onSubscribeDenied(subKey{subject: found[2], queue: found[3] == queueGroup}, err)
		}
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		b.events.Put(bus.Event{Kind: bus.Dropped, Err: errors.NewErrorf(errors.ResourceExhausted,
			"the nats server refused a subscription, whose frames will not come: %w", err)})
	}
	b.asyncErrors.record(err)
}

// waitAsyncErrors returns when the bus knows of all that the server refused before the last round trip ended. nats.go has
// read that by then, but may not have called the error handler.
func (b *Bus) waitAsyncErrors() {
	timeout := time.NewTimer(handlerTimeout)
	defer timeout.Stop()
	for {
		last := b.nc.LastError()
		if !errors.Is(last, nats.ErrPermissionViolation) {
			return
		}
		seen, changed := b.asyncErrors.seen(last)
		if seen {
			return
		}
		select {
		case <-changed:
		case <-timeout.C: // someone has set another error handler
			b.asyncErrors.skip(last)
			return
		case <-b.ctx.Done():
			return
		}
	}
}

func permissionError(err error) error {
	return errors.NewErrorf(errors.PermissionDenied, "the nats server refuses it: %w", err)
}

func (b *Bus) onSubscribeDenied(key subKey, err error) {
	if key.subject == b.noResponders.inboxSubject() {
		b.noResponders.denied.Store(true)
		b.options.logger.Warn("nats bus: calls that nobody listens to end by their timeout", "error", permissionError(err))
		return
	}
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	r := b.serverSubs[key]
	if r == nil {
		return
	}
	if r.confirmed { // until the bus reconnected; who subscribes is told otherwise
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: key.subject, Err: permissionError(err)})
	}
	r.confirmed, r.denied, r.deniedEpoch = false, err, b.conn.epoch()
}

// onPublishDenied tells the reports of the frames that are on their way to subject. The server took none of them.
func (b *Bus) onPublishDenied(subject string, err error) {
	denied := b.reports.removeSubject(subject)
	b.publishErrors.Add(uint64(len(denied)))
	for _, report := range denied {
		report.Delivered(bus.Unknown, permissionError(err))
	}
	if frames, ok := b.deniedLog.allow(); ok {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: subject, Frames: frames, Err: permissionError(err)})
	}
}
