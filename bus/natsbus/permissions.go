package natsbus

import (
	"context"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// If the NATS server denies a SUB or PUB, it sends an -ERR message later. nats.go stores it as
// LastError and then calls the connection's error handler on another goroutine. Subscribe must
// return the error, although a SUB has no reply. The -ERR precedes the PONG of the next flush, so
// LastError is set when that flush succeeds. The bus then only waits for the error handler.

// handlerTimeout limits how long the bus waits for nats.go to call the error handler.
const handlerTimeout = time.Second

// refusalTimeout limits how long the bus waits for the error handler after a flush if an earlier
// subscription has been refused.
const refusalTimeout = 250 * time.Millisecond

// deniedSubject matches the text of a permission error, which nats.go does not parse.
var deniedSubject = regexp.MustCompile(`(Subscription|Publish) to "([^"]+)"(?: using queue "([^"]+)")?`)

// asyncErrors records the last error that nats.go has passed to the bus's error handler.
type asyncErrors struct {
	mu   sync.Mutex
	last error
	// refusals counts the subscriptions that the server has refused because the connection or its
	// account has too many.
	refusals uint64
	// changed is closed and replaced whenever an error is recorded.
	changed chan struct{}
	// skipped is an error that the bus does not wait for. At first, it is the connection's
	// LastError from the time before the bus used the connection. Later, it is the last error for
	// which nats.go did not call the error handler in time.
	skipped error
}

func (a *asyncErrors) record(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = err
	if errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		a.refusals++
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// seen reports whether err has already been recorded or skipped. If so, the bus need not wait for
// it. The returned channel is closed when the next error is recorded.
func (a *asyncErrors) seen(err error) (bool, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return err == a.last || err == a.skipped, a.changed //nolint:errorlint // identity is intended
}

func (a *asyncErrors) skip(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.skipped = err
}

// refused returns the number of subscriptions that the server has refused. The returned channel is
// closed when the next error is recorded.
func (a *asyncErrors) refused() (uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusals, a.changed
}

// attachErrorHandler wraps the error handler of nc: the wrapper calls the previous handler and then
// onAsyncError. After detach has been called, the wrapper only calls the previous handler. The
// wrapper is never removed, because the program may have wrapped it in another handler.
func (b *Bus) attachErrorHandler(nc *nats.Conn) (detach func()) {
	previous := nc.ErrorHandler()
	var attached atomic.Pointer[Bus]
	attached.Store(b)
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if previous != nil {
			previous(nc, sub, err)
		}
		if b := attached.Load(); b != nil {
			b.onAsyncError(err)
		}
	})
	return func() { attached.Store(nil) }
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
		if _, ok := b.refusedLog.Allow(logInterval); ok {
			b.events.Put(bus.Event{Kind: bus.Dropped, Err: errors.NewErrorf(errors.ResourceExhausted,
				"the nats server rejected a subscription, which will receive no frames: %w", err)})
		}
	}
	b.asyncErrors.record(err)
}

// waitAsyncErrors is called after a PING has been answered. If nc.LastError is a permission
// error, waitAsyncErrors waits until the error handler has been called with it. It waits at most
// handlerTimeout.
func (b *Bus) waitAsyncErrors() {
	timeout := time.NewTimer(handlerTimeout)
	defer timeout.Stop()
	for {
		last := b.conn().LastError()
		if !errors.Is(last, nats.ErrPermissionViolation) {
			return
		}
		seen, changed := b.asyncErrors.seen(last)
		if seen {
			return
		}
		select {
		case <-changed:
		// The error handler has not been called, probably because the program has replaced it.
		case <-timeout.C:
			b.asyncErrors.skip(last)
			return
		case <-b.ctx.Done():
			return
		}
	}
}

// waitRefusal reports whether the server has refused another subscription since asyncErrors.refused
// returned before. If LastError is a refusal, the error handler may not have been called yet, so
// waitRefusal waits for it. If that was an earlier refusal, which looks the same, it waits in vain
// for refusalTimeout.
func (b *Bus) waitRefusal(ctx context.Context, before uint64) bool {
	if refusals, _ := b.asyncErrors.refused(); refusals != before {
		return true
	}
	if !errors.Is(b.conn().LastError(), nats.ErrMaxSubscriptionsExceeded) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	for {
		refusals, changed := b.asyncErrors.refused()
		if refusals != before {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-b.ctx.Done():
			return false
		}
	}
}

func permissionError(err error) error {
	return errors.NewErrorf(errors.PermissionDenied, "the nats server denied permission: %w", err)
}

// onSubscribeDenied records the error for the Subscribe calls that are waiting for the subscription
// to be confirmed. A confirmed subscription can be denied later: after a reconnect, nats.go renews
// the subscriptions and the server checks permissions again. In that case, Subscribe has already
// returned, so the error is reported as an event.
func (b *Bus) onSubscribeDenied(key subKey, err error) {
	if key.subject == b.noResponders.inboxSubject {
		b.noResponders.denied.Store(true)
		b.options.logger.Warn("nats bus: the server denied the inbox subscription and cannot report missing subscribers: "+
			"calls without a server end at their timeout", "error", permissionError(err))
		return
	}
	private := b.isPrivate(key.subject)
	if private {
		b.onPrivateDenied(err)
	}
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	s := b.serverSubs[key]
	if s == nil {
		return
	}
	if s.confirmed && !private {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: key.subject, Err: permissionError(err)})
	}
	s.confirmed, s.denied, s.deniedEpoch = false, err, b.state.epoch()
}

// onPublishDenied fails all pending reports of frames published on subject, because the error does
// not identify the denied frame. The other frames have been denied as well: the server checks only
// the subject. If subject is private, the bus stops using private subjects.
func (b *Bus) onPublishDenied(subject string, err error) {
	denied := b.reports.removeSubject(subject)
	if b.isPrivate(subject) {
		b.onPrivateDenied(err)
		for _, report := range denied {
			report.Delivered(bus.Unknown, err)
		}
		return
	}
	b.publishErrors.Add(uint64(len(denied)))
	for _, report := range denied {
		report.Delivered(bus.Unknown, permissionError(err))
	}
	if frames, ok := b.deniedLog.Allow(logInterval); ok {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: subject, Frames: frames, Err: permissionError(err)})
	}
}
