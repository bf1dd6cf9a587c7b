package dynamic

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Conn is the client side of a bus: it owns the subscriptions on which responses arrive, and finds
// methods in a registry. All clients of a process can share one Conn; it is safe for concurrent
// use. Close it when it is no longer needed. Close does not close the bus.
type Conn struct {
	bus           bus.Bus
	registry      *registry.Registry
	options       connOptions
	wireID        []byte // options.id
	pending       pendingCalls
	lateResponses selection.LateResponses
	stats         connCounters
	streams       streamTable
	// messageDedup drops stream messages that the bus delivers twice.
	messageDedup dedup.Cache
	timers       timer.Pool
	inboxes      inboxPool
	// ctx ends when the conn or its bus is closed. Its cause is errors.ErrClientClosed or
	// bus.ErrClosed.
	ctx    context.Context //nolint:containedctx // the life of the conn, not of one operation
	cancel context.CancelCauseFunc
	// goroutines counts the goroutines that Close waits for. None is added once ctx has ended.
	goroutines sync.WaitGroup

	mu          sync.Mutex
	replies     map[string]*replySubscriptions   // by wire name of the service
	plans       map[string]*clientPlan           // by full name of a method that Invoke has used
	publishers  map[string]*publisher            // by full name of a method that Publish has used
	memberships map[string]*selection.Membership // by name of the request channel
	children    map[connChild]struct{}           // open streams and subscriptions
}

// ConnStats counts the frames that a conn has dropped since it was created, and the messages that
// are waiting. The conn drops a frame that it cannot use, instead of failing or logging: frames
// arrive in callbacks of the bus, which have no caller to return an error to, and any process on
// the bus may send any number of them.
type ConnStats struct {
	// BadFrames counts frames that could not be decoded, that exceed the limit of the conn's frame
	// size, or whose message is of another kind than the channel carries.
	BadFrames uint64
	// Unmatched counts claims, responses and stream frames for calls and streams that have ended,
	// or that never belonged to this conn.
	Unmatched uint64
	// Expired counts stream frames that arrived after the timeout of the server's Send.
	Expired uint64
	// Duplicated counts stream messages that arrived twice within five seconds, because the bus
	// delivered them twice.
	Duplicated uint64
	// Overflowed counts stream messages that arrived while the buffer of their stream was full.
	Overflowed uint64
	// Waiting is the number of stream messages that are buffered and not read at this moment.
	Waiting uint64
}

type connCounters struct {
	badFrames, unmatched atomic.Uint64
	streams              streamCounters
}

// NewConn returns a conn on b that calls the services in reg, including services that are added to
// reg later. It fails with the code invalid_argument if b or reg is nil, or the client id is not
// valid UTF-8; with bus.ErrClosed if b is closed; and if an option is invalid.
func NewConn(b bus.Bus, reg *registry.Registry, opts ...ConnOption) (*Conn, error) {
	if b == nil || reg == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "cannot create conn: bus or registry is nil")
	}
	select {
	case <-b.Done():
		return nil, bus.ErrClosed
	default:
	}
	options := newConnOptions(opts)
	if !utf8.ValidString(options.id) {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client id %q is not valid UTF-8", options.id)
	}
	if err := options.interceptors.err; err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Conn{
		registry:   reg,
		options:    options,
		wireID:     []byte(options.id),
		ctx:        ctx,
		cancel:     cancel,
		replies:    map[string]*replySubscriptions{},
		plans:      map[string]*clientPlan{},
		publishers: map[string]*publisher{},
	}
	c.streams.counters = &c.stats.streams
	c.inboxes.epoch = time.Now()
	c.bus = transport.LimitFrames(b, options.maxFrameSize, &c.stats.badFrames)
	c.goroutines.Go(c.closeChildren)
	return c, nil
}

// ID returns the client id, by which servers know the conn.
func (c *Conn) ID() string { return c.options.id }

// Stats returns the current counters of the conn.
func (c *Conn) Stats() ConnStats {
	streams := &c.stats.streams
	return ConnStats{
		BadFrames:  c.stats.badFrames.Load(),
		Unmatched:  c.stats.unmatched.Load() + streams.unmatched.Load(),
		Expired:    streams.expired.Load(),
		Duplicated: streams.duplicated.Load(),
		Overflowed: streams.overflowed.Load(),
		Waiting:    c.streams.waiting(nil),
	}
}

// Close ends all calls, streams and subscriptions at once; calls fail with errors.ErrClientClosed.
// When Close returns, the bus delivers nothing more to the conn and the conn's goroutines have
// ended. Close may be called more than once and always returns nil.
func (c *Conn) Close() error {
	c.cancel(errors.ErrClientClosed)
	c.mu.Lock()
	replies := slices.Collect(maps.Values(c.replies)) // none is added once ctx has ended
	c.mu.Unlock()
	for _, r := range replies {
		r.close()
	}
	c.goroutines.Wait()
	return nil
}

// goTracked runs f on a goroutine that Close waits for. f must return when the conn is closed.
// goTracked returns an error if the conn is already closed.
func (c *Conn) goTracked(f func()) error {
	// Close locks mu after it has ended ctx and before it waits, so that it misses no goroutine.
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.err(); err != nil {
		return err
	}
	c.goroutines.Go(f)
	return nil
}

// Done returns a channel that is closed when the conn or its bus is closed.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// err returns errors.ErrClientClosed or bus.ErrClosed if the conn is closed, and nil otherwise.
// Each call checks it several times, so while the conn is open the check takes no lock for which
// calls would contend.
func (c *Conn) err() error {
	select {
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	default:
		return nil
	}
}

// closeError returns the conn's error and the reason for the facts of a call that ends with it.
func (c *Conn) closeError() (error, errors.Reason) { //nolint:staticcheck // arguments of withFacts
	err := c.err()
	if errors.Is(err, bus.ErrClosed) {
		return err, errors.ReasonBusDown
	}
	return err, errors.ReasonClosed
}

// maxMemberships is the number of memberships, one per method and topic, at which a conn forgets
// them all. That bounds their memory; a forgotten membership is learned again by the next calls.
const maxMemberships = 10_000

// membership returns what earlier calls have learned about the servers that subscribe to a request
// channel.
func (c *Conn) membership(channel string) *selection.Membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.memberships[channel]
	if m == nil {
		if c.memberships == nil || len(c.memberships) >= maxMemberships {
			c.memberships = map[string]*selection.Membership{}
		}
		m = &selection.Membership{}
		c.memberships[channel] = m
	}
	return m
}

// onResponse is the bus.Handler of response channels; it never blocks.
func (c *Conn) onResponse(frame []byte) {
	response, ok := transport.Decode(
		frame, wire.KindResponse, c.options.maxFrameSize, wire.ParseResponse, &c.stats.badFrames)
	if !ok {
		return
	}
	found, useful := c.pending.dispatch(response.RequestID, func(call pendingCall) bool { return call.onResponse(response) })
	if !found {
		c.lateResponses.OnResponse(response.RequestID, response.ServerID, response.Subscribers)
	}
	if !useful {
		c.stats.unmatched.Add(1)
	}
}

// onClaim is the bus.Handler of claim channels; it never blocks.
func (c *Conn) onClaim(frame []byte) {
	claim, ok := transport.Decode(
		frame, wire.KindClaimRequest, c.options.maxFrameSize, wire.ParseClaimRequest, &c.stats.badFrames)
	if !ok {
		return
	}
	found, useful := c.pending.dispatch(claim.RequestID, func(call pendingCall) bool { return call.onClaim(claim) })
	if !found {
		c.lateResponses.OnResponse(claim.RequestID, claim.ServerID, claim.Subscribers)
	}
	if !useful {
		c.stats.unmatched.Add(1)
	}
}

// bounds returns the timeout of a call, and the expiry that its request carries. A timeout in the
// call's options takes precedence. Otherwise the timeout is the earlier of the conn's timeout and
// the deadline of ctx, or DefaultClientTimeout if there is neither. The expiry is never later than
// the deadline of ctx.
func (c *Conn) bounds(ctx context.Context, now time.Time, o *requestOptions) (timeout time.Duration, expiry time.Time) {
	deadline, hasDeadline := ctx.Deadline()
	timeout = c.options.timeout
	if hasDeadline && (timeout == 0 || deadline.Sub(now) < timeout) {
		timeout = deadline.Sub(now)
	} else if timeout == 0 {
		timeout = DefaultClientTimeout
	}
	if o.timeout > 0 {
		timeout = o.timeout
	}
	timeout = min(timeout, maxTimeout)
	expiry = now.Add(timeout)
	if hasDeadline && !deadline.After(expiry) {
		expiry = deadline
	}
	return timeout, expiry
}

func (c *Conn) panics() panicReporter {
	return panicReporter{c.options.logger, c.options.interceptors.panics}
}

// subscribeReplies subscribes to the replies of a service, unless the conn has done so. The wait
// for the bus is limited by the conn's timeout.
func (c *Conn) subscribeReplies(ctx context.Context, s *registry.Service) (*replySubscriptions, error) {
	c.mu.Lock()
	if err := c.err(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	replies := c.replies[s.WireName()]
	if replies == nil {
		replies = newReplySubscriptions(c.bus, c, s.WireName(), c.options.id)
		c.replies[s.WireName()] = replies
	}
	c.mu.Unlock()

	timeout := c.options.timeout
	if timeout == 0 {
		timeout = DefaultClientTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	err := replies.subscribe(ctx, hasStreams(s))
	if err != nil && c.err() != nil {
		err = c.err()
	}
	return replies, err
}

// connChild is a stream or a subscription that ends with its conn, or with the conn's bus.
type connChild interface {
	// end ends the child with err and returns when the child has ended. It may be called more than
	// once; only the first error counts.
	end(err error)
}

// track adds a child that ends with the conn. It returns an error if the conn is closed.
func (c *Conn) track(child connChild) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.err(); err != nil {
		return err
	}
	if c.children == nil {
		c.children = map[connChild]struct{}{}
	}
	c.children[child] = struct{}{}
	return nil
}

func (c *Conn) untrack(child connChild) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.children, child)
}

// closeChildren waits until the conn or its bus is closed, and then ends all children and calls. It
// is the body of a goroutine that Close waits for.
func (c *Conn) closeChildren() {
	select {
	case <-c.ctx.Done():
	case <-c.bus.Done():
		c.cancel(bus.ErrClosed)
	}
	c.mu.Lock()
	children := slices.Collect(maps.Keys(c.children))
	c.mu.Unlock()
	for _, child := range children {
		child.end(c.err())
	}
	c.pending.notifyConnClosed()
}
