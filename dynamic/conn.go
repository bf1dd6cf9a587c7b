package dynamic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Conn is what clients use to make calls over a bus. It owns the subscriptions on which responses
// arrive, and looks up methods in a registry. All clients in a process can share one Conn, because
// it is safe for concurrent use. Close the Conn when it is no longer needed. Close does not close
// the bus.
type Conn struct {
	bus bus.Bus
	// rawBus is the bus that was passed to NewConn. The field bus wraps it to limit the size of
	// frames and to compress them.
	rawBus   bus.Bus
	traits   transport.Traits
	registry *registry.Registry
	options  connOptions
	// wireID is options.id, converted to bytes.
	wireID        []byte
	pending       pendingCalls
	lateResponses selection.LateResponses
	drops         drops
	streams       streamTable
	// decompressed limits the memory that decompressed stream messages use.
	decompressed transport.Budget
	// skewLog limits how often the conn logs warnings about servers with wrong clocks.
	skewLog logthrottle.Throttle
	// idLog limits how often the conn logs errors about invalid IDs from its generator.
	idLog logthrottle.Throttle
	// messageDedup recognizes stream messages that the bus delivers a second time. They are
	// dropped.
	messageDedup dedup.Cache
	timers       timer.Pool
	inboxes      inboxPool
	// ctx is the context of the conn. It ends with the cause errors.ErrClientClosed when the conn
	// is closed, and with the cause bus.ErrClosed when the bus is closed.
	ctx    context.Context //nolint:containedctx // lasts as long as the conn, not one operation
	cancel context.CancelCauseFunc
	// goroutines counts the goroutines for which Close waits. None is added after ctx has ended.
	goroutines sync.WaitGroup
	closeOnce  sync.Once
	// released is closed when all subscriptions and goroutines of the closed conn have ended.
	released chan struct{}

	mu sync.Mutex
	// replies holds the subscriptions to the replies from each service. Its keys are the wire names
	// of the services.
	replies map[string]*replySubscriptions
	// plans holds the plans that the Invoke functions use, and publishers the publishers that
	// Publish uses. The keys of both are full method names.
	plans       map[string]*clientPlan
	publishers  map[string]*publisher
	memberships memberships
	// children holds the open streams and subscriptions.
	children map[connChild]struct{}
	// warnedServers contains the IDs of servers whose clocks are known to be wrong, so that the
	// conn warns about each of them only once. See warnClockSkew.
	warnedServers map[string]bool
}

// ConnStats says how many frames a conn has dropped since it was created, and how many messages are
// waiting to be read. No caller waits for the error of a dropped frame, so the conn logs dropped
// frames instead, with at most one line per second and reason. The level of the lines about
// Unmatched and Duplicated is debug, because such frames also arrive in normal operation.
type ConnStats struct {
	// BadFrames counts frames that could not be decoded or that exceeded the conn's maximum frame
	// size. It also counts frames whose kind of message does not belong on their channel.
	BadFrames uint64
	// Unmatched counts claims, responses and stream frames that the conn could not use, usually
	// because their call or stream has already ended.
	Unmatched uint64
	// Expired counts stream messages that were dropped because the server's call to Send had
	// already timed out. They have arrived too late, or waited too long for room in the stream's
	// channel. Expired also counts stream frames without a valid expiry.
	Expired uint64
	// Duplicated counts stream messages that were dropped because the bus delivered them a second
	// time within five seconds.
	Duplicated uint64
	// Overflowed counts stream messages that arrived while the buffer of their stream was full.
	Overflowed uint64
	// Waiting is the number of stream messages that are currently buffered and have not been read.
	Waiting uint64
}

// NewConn returns a conn that uses b to call the services in reg, including services that are added
// to reg later. It fails with the code [errors.InvalidArgument] if b or reg is nil, or if the
// client ID is not valid. It returns [bus.ErrClosed] if b is closed, and another error if an option
// is invalid.
func NewConn(b bus.Bus, reg *registry.Registry, opts ...ConnOption) (*Conn, error) {
	if nilarg.Is(b) || reg == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "cannot create conn: bus or registry is nil")
	}
	select {
	case <-b.Done():
		return nil, bus.ErrClosed
	default:
	}
	options := newConnOptions(b, opts)
	if err := options.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Conn{
		rawBus:     b,
		traits:     transport.TraitsOf(b),
		registry:   reg,
		options:    options,
		wireID:     []byte(options.id),
		ctx:        ctx,
		cancel:     cancel,
		replies:    map[string]*replySubscriptions{},
		plans:      map[string]*clientPlan{},
		publishers: map[string]*publisher{},
		released:   make(chan struct{}),
	}
	c.drops.logger = options.logger
	c.decompressed.Max = int64(options.decompressed.maxMemory)
	c.inboxes.epoch = time.Now()
	c.bus = transport.LimitFrames(transport.CompressFrames(b, options.compression), options.maxFrameSize, c.drops.addBad)
	c.goroutines.Go(c.closeChildren)
	return c, nil
}

// ID returns the client ID, which identifies the conn to servers.
func (c *Conn) ID() string { return c.options.id }

// Bus returns the bus that was passed to [NewConn].
func (c *Conn) Bus() bus.Bus { return c.rawBus }

// Format implements fmt.Formatter. It prints only the type and the ID. The default format would
// print all fields, which other goroutines may change and which may contain the password for the
// broker.
func (c *Conn) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "dynamic.Conn(%s)", c.ID()) }

// Stats returns the current counters of the conn.
func (c *Conn) Stats() ConnStats {
	return ConnStats{
		BadFrames:  c.drops.count(dropBadFrame),
		Unmatched:  c.drops.count(dropUnmatched),
		Expired:    c.drops.count(dropExpired),
		Duplicated: c.drops.count(dropDuplicated),
		Overflowed: c.drops.count(dropOverflowed),
		Waiting:    c.streams.waiting(nil),
	}
}

// Close immediately ends all calls, streams and subscriptions. Calls in progress fail with
// [errors.ErrClientClosed]. When Close returns nil, the bus delivers nothing more to the conn, and
// the conn's goroutines have ended. Close may be called more than once.
//
// If the broker does not answer, or an interceptor does not return, Close returns an error with
// code deadline_exceeded. It does so after 3 seconds, or after the timeout of the conn if that is
// longer (see [WithClientTimeout]). The remaining subscriptions and goroutines then end in the
// background.
func (c *Conn) Close() error {
	c.cancel(errors.ErrClientClosed)
	c.closeOnce.Do(func() { go c.release() })
	if waitAtMost(c.closeTimeout(), c.released) {
		return nil
	}
	return errors.NewErrorf(errors.DeadlineExceeded,
		"client %s: the bus has not ended all subscriptions, or goroutines are still running", c.ID())
}

// closeTimeout returns the time after which Conn.Close and Subscription.Close stop waiting.
func (c *Conn) closeTimeout() time.Duration { return max(c.options.timeout, DefaultClientTimeout) }

// release ends the subscriptions of a closed conn, waits for its goroutines, and closes c.released.
func (c *Conn) release() {
	c.mu.Lock()
	// No more entries are added to c.replies, because c.ctx has ended.
	replies := slices.Collect(maps.Values(c.replies))
	c.mu.Unlock()
	var closing sync.WaitGroup
	for _, r := range replies {
		closing.Go(r.close)
	}
	closing.Wait()
	c.goroutines.Wait()
	close(c.released)
}

// goTracked runs f on a goroutine for which Close waits. f must return when the conn is closed. If
// the conn is already closed, goTracked returns an error and does not run f.
func (c *Conn) goTracked(f func()) error {
	// Close first cancels ctx, then locks mu, and then waits for the goroutines. If ctx has not
	// ended here, Close cannot have locked mu yet, so it will also wait for the new goroutine.
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
// Every call on the conn checks err several times. While the conn is open, err takes no lock, so
// concurrent calls do not slow each other down.
func (c *Conn) err() error {
	select {
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	default:
		return nil
	}
}

// closeError returns the error of a closed conn. It also returns the reason to record for a call
// that fails with that error.
func (c *Conn) closeError() (error, errors.Reason) { //nolint:staticcheck // passed to withFacts
	err := c.err()
	if errors.Is(err, bus.ErrClosed) {
		return err, errors.ReasonBusDown
	}
	return err, errors.ReasonClosed
}

// maxMemberships is the maximum number of topics for which a conn remembers which servers have
// answered. A topic of several methods counts once for each method. The limit is needed because the
// conn could otherwise use any amount of memory. When it is reached, the conn forgets all topics.
const maxMemberships = 10_000

// memberships contains a [selection.Membership] for each method and topic that a conn uses and
// whose servers it must know. The keys are the names of request channels.
type memberships struct {
	ofMethods, ofTopics map[string]*selection.Membership
}

// membership returns the [selection.Membership] of a request channel, which records the servers
// that answer on it. If there is none, membership creates it. hasTopic reports whether the channel
// belongs to a topic. presence sends further discovery requests. It is nil if clients need not know
// the servers.
func (c *Conn) membership(channel string, hasTopic bool, presence *connPresence) *selection.Membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.memberships.find(channel); m != nil {
		return m
	}
	m := &selection.Membership{}
	if presence != nil {
		m.AskAgain = func(answered []string) { presence.askAgain(channel, answered) }
	}
	c.memberships.add(channel, hasTopic, m)
	return m
}

// find returns the [selection.Membership] of a request channel, or nil if there is none.
func (m *memberships) find(channel string) *selection.Membership {
	if found := m.ofMethods[channel]; found != nil {
		return found
	}
	return m.ofTopics[channel]
}

func (m *memberships) add(channel string, hasTopic bool, membership *selection.Membership) {
	if m.ofMethods == nil {
		m.ofMethods = map[string]*selection.Membership{}
	}
	if m.ofTopics == nil || len(m.ofTopics) >= maxMemberships {
		m.ofTopics = map[string]*selection.Membership{}
	}
	if hasTopic {
		m.ofTopics[channel] = membership
	} else {
		m.ofMethods[channel] = membership
	}
}

// onResponse is called for each frame on a response channel. It passes the response to the call
// that is waiting for it. onResponse never blocks.
func (c *Conn) onResponse(channel bus.Channel, frame []byte) {
	response, _, err := transport.Decode(frame, wire.KindResponse, c.options.decompression(), wire.ParseUnawaitedResponse)
	if err != nil {
		c.drops.addBad(channel, err)
		return
	}
	found, useful := c.pending.dispatch(response.RequestID, func(call pendingCall) bool { return call.onResponse(response) })
	if !found {
		c.lateResponses.OnResponse(response.RequestID, response.ServerID, response.Subscribers)
	}
	if !useful {
		c.drops.add(dropUnmatched, droppedFrame{channel: channel.Name, peer: response.ServerID})
	}
}

// onClaim is called for each frame on a claim channel. It passes the claim to the call that is
// waiting for it. onClaim never blocks.
func (c *Conn) onClaim(channel bus.Channel, frame []byte) {
	claim, _, err := transport.Decode(frame, wire.KindClaimRequest, c.options.decompression(), wire.ParseClaimRequest)
	if err != nil {
		c.drops.addBad(channel, err)
		return
	}
	found, useful := c.pending.dispatch(claim.RequestID, func(call pendingCall) bool { return call.onClaim(claim) })
	if !found {
		c.lateResponses.OnResponse(claim.RequestID, claim.ServerID, claim.Subscribers)
	}
	if !useful {
		c.drops.add(dropUnmatched, droppedFrame{channel: channel.Name, peer: claim.ServerID})
	}
}

// bounds returns the timeout of a call and the time at which its request expires. The timeout is
// the one in the call's options. Without that, it is the conn's timeout or the time until the
// deadline of ctx, whichever is shorter, or DefaultClientTimeout if there is neither. The expiry is
// never later than the deadline of ctx.
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
	return panicReporter{c.options.logger, c.options.interceptors.panics, nil}
}

// subscribeReplies subscribes to the replies of a service, unless the conn has already done so. It
// waits for the bus no longer than the conn's timeout. If the conn has no timeout, the limit is
// DefaultClientTimeout.
func (c *Conn) subscribeReplies(ctx context.Context, s *registry.Service) (*replySubscriptions, error) {
	c.mu.Lock()
	if err := c.err(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	replies := c.replies[s.WireName()]
	if replies == nil {
		replies = newReplySubscriptions(c.bus, c, s.WireName(), c.options.id, c.options.logger)
		if slices.ContainsFunc(s.Methods(), c.traits.Announces) {
			replies.presence = newConnPresence(c, s)
		}
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

// connChild is a stream or subscription that ends when the conn or the bus is closed.
type connChild interface {
	// end ends the stream or subscription with the error err and returns when it has ended. end may
	// be called more than once; only the first error is used.
	end(err error)
}

// track adds a stream or subscription to the children of the conn. It returns an error if the conn
// is already closed.
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

// closeChildren waits until the conn or the bus is closed. It then ends all streams and
// subscriptions and notifies the pending calls. If the bus was closed, it ends c.ctx before that.
// closeChildren runs on a goroutine for which Close waits.
func (c *Conn) closeChildren() {
	select {
	case <-c.ctx.Done():
	case <-c.bus.Done():
		c.cancel(bus.ErrClosed)
	}
	c.mu.Lock()
	children := slices.Collect(maps.Keys(c.children))
	c.mu.Unlock()
	c.pending.notifyConnClosed()
	var ending sync.WaitGroup
	for _, child := range children {
		ending.Go(func() { child.end(c.err()) })
	}
	ending.Wait()
}
