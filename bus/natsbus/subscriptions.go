package natsbus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

// subscriptions contains the NATS subscriptions of a bus and the subscribers that share them. Its
// methods are safe for concurrent use unless their comments say otherwise.
//
// Two mutexes guard its state. changeMu serializes all changes, and is held during calls of nats.go
// that subscribe and unsubscribe. The field subscribers has a mutex of its own. It is locked after
// changeMu, for a few instructions only, so that the dispatcher never waits for nats.go.
type subscriptions struct {
	telemetry *telemetry
	conn      *connection
	subjects  *subjects
	inbox     *noResponders
	// inbound receives the messages of all NATS subscriptions.
	inbound chan *nats.Msg
	// subscribers is guarded by its own mutex, not by changeMu.
	subscribers subscriberTable
	// refusedLog throttles the events for refused subscriptions. Only nats.go's error handler uses
	// it.
	refusedLog logthrottle.Throttle

	// changeMu guards the fields below, the fields of all serverSubs, and the subscription of
	// inbox.
	changeMu   sync.Mutex
	closed     bool
	serverSubs map[subKey]*serverSub
	// stale reports whether the server may still have a subscription that nats.go has already
	// removed. The flag is relevant only while the connection's number of reconnects equals
	// staleReconnects, because a later reconnect removes the subscription from the server. See
	// resync.go.
	stale           bool
	staleReconnects uint64
}

func newSubscriptions(conn *connection, subjects *subjects, inbox *noResponders, inbound chan *nats.Msg) *subscriptions {
	return &subscriptions{
		telemetry: conn.telemetry, conn: conn, subjects: subjects, inbox: inbox, inbound: inbound,
		subscribers: subscriberTable{subjects: map[subKey]byRoutingKey{}},
		serverSubs:  map[subKey]*serverSub{},
	}
}

// subscriber is the local subscriber of one subscription of the bus, together with the NATS
// subscriptions that it needs.
type subscriber struct {
	*fanout.Subscriber

	channel    bus.Channel
	key        subKey
	routingKey string
	// subs contains the NATS subscriptions. subscriptions.acquire and confirm set it, before
	// Subscribe returns.
	subs subPair
}

// acquire adds the subscriber of s and acquires the NATS subscriptions that s needs. It returns the
// NATS subscriptions that the server has not confirmed yet. It subscribes to the private subject
// first, because other processes may forward misrouted frames to this process as soon as it is in
// the queue group.
func (u *subscriptions) acquire(s *subscriber) (unconfirmed []*serverSub, err error) {
	private, hasPrivate := u.subjects.private(s.key.subject, s.routingKey)
	hasPrivate = hasPrivate && s.key.queue && !u.conn.privateDenied.Load()
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	if u.closed {
		return nil, bus.ErrClosed
	}
	u.subscribers.add(s.key, s.routingKey, s.Subscriber)
	if hasPrivate {
		s.subs.private, err = u.acquireLocked(subKey{subject: private, queue: true})
	}
	if err == nil {
		s.subs.shared, err = u.acquireLocked(s.key)
	}
	if err != nil {
		if s.subs.private != nil {
			u.releaseLocked(s.subs.private)
		}
		u.remove(s)
		return nil, u.subscribeError(err, s.channel)
	}
	for _, sub := range s.subs.all() {
		if !sub.confirmed {
			unconfirmed = append(unconfirmed, sub)
		}
	}
	return unconfirmed, nil
}

// remove removes the subscriber of s. Deliveries to it may still be in progress afterwards.
func (u *subscriptions) remove(s *subscriber) {
	u.subscribers.remove(s.key, s.routingKey, s.Subscriber)
}

// acquireLocked returns the serverSub for key, with one more reference. It creates the serverSub if
// necessary.
func (u *subscriptions) acquireLocked(key subKey) (*serverSub, error) {
	s := u.serverSubs[key]
	if s == nil {
		s = &serverSub{key: key}
		s.refusals, _ = u.conn.asyncErrors.refused()
		if err := s.subscribe(u.conn.get(), u.inbound); err != nil {
			return nil, err
		}
		u.serverSubs[key] = s
	}
	s.refs++
	return s, nil
}

func (u *subscriptions) subscribeError(err error, channel bus.Channel) error {
	if errors.Is(err, nats.ErrBadSubject) {
		return u.subjects.invalidError(err, channel)
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus cannot subscribe to channel %.200s: %w", channel, err)
}

// confirm marks the unconfirmed NATS subscriptions of s as confirmed, after a successful flush. It
// returns an error if the server has denied one of them, or has refused one because the connection
// has too many subscriptions. A refusal does not name the subscription, so all unconfirmed ones
// fail. If the server has denied only the private subject, s works without it.
func (u *subscriptions) confirm(ctx context.Context, s *subscriber, unconfirmed []*serverSub) error {
	u.conn.waitRefusal(ctx, unconfirmed[0].refusals)
	refusals, _ := u.conn.asyncErrors.refused()
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	for _, sub := range unconfirmed {
		denied := sub.denied != nil && sub.deniedEpoch == u.conn.state.epoch()
		switch {
		case denied && sub == s.subs.private:
			s.subs.private = nil
			u.releaseLocked(sub)
		case denied:
			return errors.NewErrorf(errors.PermissionDenied, "nats bus cannot subscribe to channel %.200s: %w", s.channel, sub.denied)
		case refusals != sub.refusals && !sub.confirmed:
			return errors.NewErrorf(errors.ResourceExhausted, "nats bus cannot subscribe to channel %.200s: %w",
				s.channel, nats.ErrMaxSubscriptionsExceeded)
		default:
			sub.confirmed = true
		}
	}
	return nil
}

// release releases a reference to s. After the last one, it drains the NATS subscription: nats.go
// sends UNSUB and still delivers the messages that arrive before the server has processed the
// UNSUB. If the bus is disconnected, release removes the NATS subscription at once.
func (u *subscriptions) release(s *serverSub) {
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	u.releaseLocked(s)
}

func (u *subscriptions) releaseLocked(s *serverSub) {
	s.refs--
	if s.refs > 0 || u.closed {
		return
	}
	u.countDroppedLocked(s)
	delete(u.serverSubs, s.key)
	s.drainReconnects = s.nc.Stats().Reconnects
	if u.conn.state.err() != nil || s.sub.Drain() != nil {
		// If this fails, the connection has already been closed.
		_ = s.sub.Unsubscribe()
	}
}

// countDraining returns how many of the NATS subscriptions have no reference left.
func (u *subscriptions) countDraining(subs []*serverSub) (draining int) {
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	for _, s := range subs {
		if s.refs == 0 {
			draining++
		}
	}
	return draining
}

// countDropped counts the messages that nats.go has dropped since the last check because too many
// were waiting for delivery. It emits an event for each affected NATS subscription. If changeMu is
// locked, countDropped returns at once, so that its callers are not blocked. The next probe calls
// it again.
func (u *subscriptions) countDropped() {
	if !u.changeMu.TryLock() {
		return
	}
	defer u.changeMu.Unlock()
	for _, s := range u.serverSubs {
		u.countDroppedLocked(s)
	}
}

func (u *subscriptions) countDroppedLocked(s *serverSub) {
	dropped := s.takeDropped()
	if dropped == 0 {
		return
	}
	u.telemetry.Drops.Add(dropSlowConsumer, dropped, 0)
	u.telemetry.events.Dropped(s.key.subject, dropped, errors.NewErrorf(errors.ResourceExhausted,
		"subject %.200s: more than %d received frames were waiting for delivery: "+
			"this process is too busy, or the limit set by WithPendingLimit is too low", s.key.subject, cap(u.inbound)))
}

// onDenied records the error for the calls of subscribe that are waiting for the subscription to be
// confirmed. A confirmed subscription can be denied later: after a reconnect, nats.go renews the
// subscriptions and the server checks permissions again. In that case, subscribe has already
// returned, so the error is reported as an event.
func (u *subscriptions) onDenied(key subKey, err error) {
	if key.subject == u.inbox.inboxSubject {
		u.inbox.onDenied(err)
		return
	}
	private := u.subjects.isPrivate(key.subject)
	if private {
		u.conn.onPrivateDenied(err)
	}
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	s := u.serverSubs[key]
	if s == nil {
		return
	}
	if s.confirmed && !private {
		u.telemetry.events.Dropped(key.subject, 0, permissionError(err))
	}
	s.confirmed, s.denied, s.deniedEpoch = false, err, u.conn.state.epoch()
}

// onRefused is called when the server has refused a subscription because there are too many. It
// emits an event, because a subscription that nats.go has renewed may be the refused one.
func (u *subscriptions) onRefused(err error) {
	if _, ok := u.refusedLog.Allow(logInterval); ok {
		u.telemetry.events.Dropped("", 0, errors.NewErrorf(errors.ResourceExhausted,
			"the nats server rejected a subscription, which will receive no frames: %w", err))
	}
}

// moveTo calls replace, which makes another connection the current one, and renews all NATS
// subscriptions there. If the bus is closed, moveTo does nothing and returns false.
func (u *subscriptions) moveTo(replace func()) bool {
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	if u.closed {
		return false
	}
	replace()
	u.stale = false
	// This fails only if the connection has been closed.
	_ = u.inbox.subscribe(u.inbound)
	for _, s := range u.serverSubs {
		// This fails only if the connection has been closed.
		_ = s.subscribe(u.conn.get(), u.inbound)
	}
	return true
}

// close prevents new subscriptions and returns the open ones. first reports whether this is the
// first call.
func (u *subscriptions) close() (open map[subKey]*serverSub, first bool) {
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	open, first = u.serverSubs, !u.closed
	u.serverSubs, u.closed = nil, true
	return open, first
}
