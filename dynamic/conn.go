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

// Conn is a client's side of a bus: it owns the channels on which answers come, and knows services from a
// registry. All clients of a process can share one. Close it when it is no longer needed; it does not close the
// bus.
type Conn struct {
	bus           bus.Bus
	registry      *registry.Registry
	options       connOptions
	wireID        []byte // the id in the options
	pending       pendingCalls
	lateResponses selection.LateResponses
	stats         connCounters
	streams       streamTable
	messageDedup  dedup.Cache // messages of streams
	timers        timer.Pool
	inboxes       inboxPool
	ctx           context.Context //nolint:containedctx // ends with the conn or its bus; the cause says which
	cancel        context.CancelCauseFunc
	goroutines    sync.WaitGroup // goroutines; none is added once closed

	mu          sync.Mutex
	replies     map[string]*replySubscriptions   // by wire name
	plans       map[string]*clientPlan           // by full name; those that Invoke has used
	publishers  map[string]*publisher            // by full name; those that Publish has used
	memberships map[string]*selection.Membership // by name of the request channel
	children    map[connChild]struct{}           // what ends with the conn
}

// ConnStats counts what a conn dropped since it was made, and what waits.
type ConnStats struct {
	// BadFrames could not be decoded, or held something else than the channel is for.
	BadFrames uint64
	// Unmatched claims, responses and stream frames came for calls or streams that had ended, or that were none of
	// this conn's.
	Unmatched uint64
	// Expired stream frames came after the time their server was willing to wait.
	Expired uint64
	// Duplicated stream messages came once more within five seconds: the bus has delivered them twice.
	Duplicated uint64
	// Overflowed stream messages came faster than they were read, beyond what a stream keeps.
	Overflowed uint64
	// Waiting stream messages are those that have not been read yet, at this moment.
	Waiting uint64
}

type connCounters struct {
	badFrames, unmatched atomic.Uint64
	streams              streamCounters
}

// NewConn returns a conn on b that calls the services in reg, and those that reg will have later. It fails if
// either is nil, or with bus.ErrClosed if b is closed.
func NewConn(b bus.Bus, reg *registry.Registry, opts ...ConnOption) (*Conn, error) {
	if b == nil || reg == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "a conn needs a bus and a registry")
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

// ID returns the id by which servers know the client.
func (c *Conn) ID() string { return c.options.id }

// Stats returns what the conn has counted so far.
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

// Close ends all calls at once, with errors.ErrClientClosed, and returns when nothing more will be delivered to
// the conn. It always returns nil. It may be called more than once.
func (c *Conn) Close() error {
	c.cancel(errors.ErrClientClosed)
	c.mu.Lock()
	replies := slices.Collect(maps.Values(c.replies)) // none is added once life has ended
	c.mu.Unlock()
	for _, r := range replies {
		r.close()
	}
	c.goroutines.Wait()
	return nil
}

// goTracked runs f on a goroutine that Close waits for, and that must end when the conn's life does. It fails if that
// has ended.
func (c *Conn) goTracked(f func()) error {
	c.mu.Lock() // so that Close waits for all that were started
	defer c.mu.Unlock()
	if err := c.err(); err != nil {
		return err
	}
	c.goroutines.Go(f)
	return nil
}

// Done is closed when the conn has been closed, or its bus.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// err returns nil, or why the conn can do no more: errors.ErrClientClosed or bus.ErrClosed.
func (c *Conn) err() error {
	select {
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	default: // without a lock that callers share
		return nil
	}
}

// closeError returns ended with the reason that it is for the end of a call.
func (c *Conn) closeError() (error, errors.Reason) { //nolint:staticcheck // the pair that failed takes
	err := c.err()
	if errors.Is(err, bus.ErrClosed) {
		return err, errors.ReasonBusDown
	}
	return err, errors.ReasonClosed
}

// maxMemberships bounds the memory that a conn spends on what it has learned.
const maxMemberships = 10_000

// membership returns what the conn has learned of the servers on a channel.
func (c *Conn) membership(channel string) *selection.Membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.memberships[channel]
	if m == nil {
		if c.memberships == nil || len(c.memberships) >= maxMemberships { // rare enough to begin anew
			c.memberships = map[string]*selection.Membership{}
		}
		m = &selection.Membership{}
		c.memberships[channel] = m
	}
	return m
}

// subscribeReplies returns the conn's side of a service, listening.
func (c *Conn) subscribeReplies(ctx context.Context, s *registry.Service) (*replySubscriptions, error) {
	c.mu.Lock()
	if err := c.err(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	replies := c.replies[s.WireName()]
	if replies == nil {
		replies = newReplySubscriptions(c, s.WireName())
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

// OnResponse takes a frame from the bus; it never blocks.
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

// onClaim takes a frame from the bus; it never blocks.
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

// maxTimeout is for ever, and still a time that can be written in nanoseconds.
const maxTimeout = 100 * 365 * 24 * time.Hour

// bounds returns when a call ends and what it tells the server about that. The request's own timeout wins over
// that of the conn, which is cut to the context's deadline; without any, the default holds.
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

// onStream takes a frame from the bus; it never blocks.
func (c *Conn) onStream(frame []byte) {
	parsed, ok := transport.Decode(
		frame, wire.KindStream, c.options.maxFrameSize, wire.ParseStream, &c.stats.badFrames)
	if !ok {
		return
	}
	c.streams.dispatch(&parsed)
}

// trackStream makes s a stream of the conn until it is released.
func (c *Conn) trackStream(s *stream) error {
	child := connStream{s}
	if err := c.track(child); err != nil {
		return err
	}
	s.release = func() {
		c.untrack(child)
		c.streams.remove(s)
	}
	return c.streams.add(s) // its id is new
}
