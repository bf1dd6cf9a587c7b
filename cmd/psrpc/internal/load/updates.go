package load

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// defaultSettled is how long a run waits for the next missing update by default. Whenever an update
// arrives, the wait starts again. Updates that are still missing at the end count as lost. An
// operation with Wait waits no longer than this for its own update.
const defaultSettled = 500 * time.Millisecond

// UpdateOptions configure [NewUpdates].
type UpdateOptions struct {
	// Subscribers holds a conn for each subscriber. At least one is needed.
	Subscribers []*dynamic.Conn
	// Wait makes each operation wait until all subscribers have received its update. Without it, an
	// operation ends when the update is published.
	Wait bool
	// Settled is how long a run waits for the next missing update. The default is half a second.
	Settled time.Duration
}

// Updates publishes updates and receives them. Each update contains a mark, from which the
// subscribers learn when it was published and whether updates are missing.
type Updates struct {
	target  *Target
	wait    bool
	settled time.Duration
	// copies is how many subscribers receive each update.
	copies int
	// start is the time from which the times in marks are counted.
	start time.Time
	// run is a random number that identifies the updates of this run.
	run           uint64
	subscriptions []dynamic.Subscription[proto.Message]
	reading       sync.WaitGroup

	// sent counts the published updates, and arrived counts the copies that subscribers have
	// received. published and received are the corresponding numbers for measured updates only.
	// repeated and foreign are as in [Delivery].
	published, sent             atomic.Uint64
	received, repeated, foreign atomic.Uint64
	arrived                     atomic.Uint64
	latency                     histogram

	mu      sync.Mutex
	callers map[int]*publisher
}

// publisher publishes the updates of one caller, one after the other.
type publisher struct {
	// message is the message of the latest update. If all messages of the run are equal, the next
	// update reuses it and only changes its mark.
	message proto.Message
	mark    mark
	encoded []byte

	// awaited is the number of the update for which the caller waits, plus one. It is 0 if the
	// caller has not waited yet. A subscriber that receives this update sends a value to delivered.
	awaited   atomic.Uint64
	delivered chan struct{}
}

// NewUpdates subscribes to the updates of the method.
func NewUpdates(t *Target, options UpdateOptions) (*Updates, error) {
	if len(options.Subscribers) == 0 {
		return nil, errors.NewErrorf(errors.InvalidArgument, "there must be a subscriber")
	}
	u := &Updates{
		target: t, wait: options.Wait, settled: cmp.Or(options.Settled, defaultSettled), copies: len(options.Subscribers), start: time.Now(),
		run: rand.Uint64(), callers: map[int]*publisher{}, //nolint:gosec // not a secret
	}
	seen := newUpdateSet()
	shared := t.Method.Routing() != registry.RoutingMulti
	if shared {
		u.copies = 1
	}
	for _, conn := range options.Subscribers {
		if !shared {
			seen = newUpdateSet()
		}
		if err := u.subscribe(conn, seen); err != nil {
			u.Close()
			return nil, err
		}
	}
	return u, nil
}

// subscribe starts a subscriber. seen contains the updates that the subscriber has received. If
// each update goes to only one of the subscribers, they share one set.
func (u *Updates) subscribe(conn *dynamic.Conn, seen *updateSet) error {
	target := *u.target
	target.Conn = conn
	client, err := target.client()
	if err != nil {
		return err
	}
	subscription, err := client.Subscribe(context.Background(), target.Options...)
	if err != nil {
		return err
	}
	u.subscriptions = append(u.subscriptions, subscription)
	u.reading.Go(func() {
		for update := range subscription.Channel() {
			u.receive(update, seen)
		}
	})
	return nil
}

// Do is an [Operation] that publishes an update. With Wait, it also waits until the subscribers
// have received the update.
func (u *Updates) Do(ctx context.Context, request Request) error {
	p := u.publisher(request.Caller)
	message, err := p.next(u.target.Data, request)
	if err != nil {
		return err
	}
	p.mark.run, p.mark.caller, p.mark.measured = u.run, uint64(request.Caller), request.Measured //nolint:gosec // not negative
	p.mark.intended = request.Intended.Sub(u.start)
	p.encoded = p.mark.append(p.encoded[:0])
	message.ProtoReflect().SetUnknown(p.encoded)
	if u.wait {
		p.expect()
	}
	err = dynamic.Publish(ctx, u.target.Conn, u.target.Method.FullName(), message, u.target.Options...)
	// Even if Publish fails, the update may arrive. The next update therefore always gets a new
	// number.
	p.mark.number++
	if err != nil {
		return err
	}
	u.sent.Add(1)
	if request.Measured {
		u.published.Add(1)
	}
	if u.wait {
		return p.await(u.copies, u.settled)
	}
	return nil
}

// publisher returns the publisher of a caller.
func (u *Updates) publisher(caller int) *publisher {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.callers[caller]
	if p == nil {
		p = &publisher{delivered: make(chan struct{}, u.copies)}
		u.callers[caller] = p
	}
	return p
}

// next returns the message of the publisher's next update. Only this publisher uses the message, so
// it may modify it.
func (p *publisher) next(data *Template, request Request) (proto.Message, error) {
	if data.Constant() && p.message != nil {
		return p.message, nil
	}
	message, err := data.Message(request)
	if err != nil {
		return nil, err
	}
	if data.Constant() {
		// The template returns the same message to all callers, so a caller that adds its mark
		// needs a copy.
		message = proto.Clone(message)
	}
	p.message = message
	return message, nil
}

// expect notes that the caller will wait for its next update. It must be called before the update
// is published.
func (p *publisher) expect() {
	p.awaited.Store(p.mark.number + 1)
	for len(p.delivered) > 0 {
		<-p.delivered
	}
}

// await waits until the subscribers have received the update.
func (p *publisher) await(copies int, settled time.Duration) error {
	timer := time.NewTimer(settled)
	defer timer.Stop()
	for range copies {
		select {
		case <-p.delivered:
		case <-timer.C:
			return errors.NewErrorf(errors.DeadlineExceeded, "a subscriber has not received the update within %s", settled)
		}
	}
	return nil
}

// receive counts a received update. If the caller that published the update is waiting for it,
// receive reports the delivery to that caller.
func (u *Updates) receive(update proto.Message, seen *updateSet) {
	m, ok := markOf(update.ProtoReflect().GetUnknown())
	switch {
	case !ok || m.run != u.run:
		u.foreign.Add(1)
		return
	case !seen.add(m.caller, m.number):
		u.repeated.Add(1)
		return
	}
	u.arrived.Add(1)
	if m.measured {
		u.received.Add(1)
		u.latency.add(time.Since(u.start.Add(m.intended)))
	}
	if !u.wait {
		return
	}
	p := u.publisher(int(m.caller)) //nolint:gosec // it was not negative
	if p.awaited.Load() == m.number+1 {
		select {
		case p.delivered <- struct{}{}:
		default:
		}
	}
}

// Settle waits until all updates have arrived, or until none has arrived for
// [UpdateOptions].Settled.
func (u *Updates) Settle() {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	arrived, changed := u.arrived.Load(), time.Now()
	for arrived < u.sent.Load()*uint64(u.copies) && time.Since(changed) < u.settled { //nolint:gosec // not negative
		now := <-ticker.C
		if n := u.arrived.Load(); n != arrived {
			arrived, changed = n, now
		}
	}
}

// Delivery returns how many of the measured updates have arrived. Call it after Settle.
func (u *Updates) Delivery() *Delivery {
	d := &Delivery{
		Published: u.published.Load(), Received: u.received.Load(), Repeated: u.repeated.Load(),
		Foreign: u.foreign.Load(), Latency: u.latency.summary(),
	}
	if expected := d.Published * uint64(u.copies); expected > d.Received { //nolint:gosec // not negative
		d.Lost = expected - d.Received
	}
	return d
}

// Close ends the subscriptions.
func (u *Updates) Close() {
	for _, subscription := range u.subscriptions {
		_ = subscription.Close()
	}
	u.reading.Wait()
}
