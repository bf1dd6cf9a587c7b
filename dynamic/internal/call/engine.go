package call

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Engine makes calls over a bus. It owns the subscriptions on which claims and responses arrive. It
// is safe for concurrent use.
type Engine struct {
	core

	ids           ids
	inboxes       inboxPool
	pending       pendingCalls
	lateResponses selection.LateResponses
	streams       streams
	closeOnce     sync.Once
	// released is closed when all subscriptions and goroutines of the closed engine have ended.
	released chan struct{}
	// replies holds the subscriptions to the replies from each service. Its keys are the wire names
	// of the services. The field mu guards it.
	replies map[string]*replySubscriptions
}

// New returns an engine. The caller must call Close when it no longer needs the engine.
func New(config Config) *Engine {
	ctx, cancel := context.WithCancelCause(context.Background())
	epoch := time.Now()
	e := &Engine{
		core: core{
			lifetime: lifetime{ctx: ctx, cancel: cancel},
			config:   config,
			traits:   transport.TraitsOf(config.Bus),
			wireID:   []byte(config.ClientID),
			epoch:    epoch,
			drops:    transport.Drops{Logger: config.Logger},
		},
		ids:      ids{generate: config.NewID, logger: config.Logger},
		inboxes:  inboxPool{epoch: epoch},
		replies:  map[string]*replySubscriptions{},
		released: make(chan struct{}),
	}
	e.bus = transport.LimitFrames(transport.CompressFrames(config.Bus, config.Compression), config.MaxFrameSize, e.drops.AddBad)
	e.streams.core, e.streams.decompressed.Max = &e.core, config.DecompressionMemory
	e.goroutines.Go(e.awaitEnd)
	return e
}

// ClientID returns the ID that identifies the client to servers.
func (e *Engine) ClientID() string { return e.config.ClientID }

// Bus returns the bus on which the engine publishes and subscribes. It limits the size of frames
// and compresses them.
func (e *Engine) Bus() bus.Bus { return e.bus }

// Waiting returns the number of stream messages that have arrived and have not been read yet.
func (e *Engine) Waiting() uint64 { return e.streams.table.Waiting(nil) }

// Drops returns the counters of dropped frames.
func (e *Engine) Drops() *transport.Drops { return &e.drops }

// Close immediately ends all calls and children. Calls in progress fail with
// errors.ErrClientClosed. When Close returns nil, the bus delivers nothing more to the engine, and
// the engine's goroutines have ended. If this takes longer than CloseTimeout, Close returns an
// error with code deadline_exceeded, and the rest ends in the background. Close may be called more
// than once.
func (e *Engine) Close() error {
	e.cancel(errors.ErrClientClosed)
	e.closeOnce.Do(func() { go e.release() })
	if lifecycle.WaitAtMost(e.CloseTimeout(), e.released) {
		return nil
	}
	return errors.NewErrorf(errors.DeadlineExceeded,
		"client %s: the bus has not ended all subscriptions, or goroutines are still running", e.config.ClientID)
}

// CloseTimeout returns the time after which Close stops waiting. Subscriptions use the same limit.
func (e *Engine) CloseTimeout() time.Duration { return max(e.config.Timeout, e.config.DefaultTimeout) }

// release ends the subscriptions of a closed engine, waits for its goroutines, and closes
// e.released.
func (e *Engine) release() {
	e.mu.Lock()
	// No more entries are added to e.replies, because e.ctx has ended.
	replies := slices.Collect(maps.Values(e.replies))
	e.mu.Unlock()
	var closing sync.WaitGroup
	for _, r := range replies {
		closing.Go(r.close)
	}
	closing.Wait()
	e.goroutines.Wait()
	close(e.released)
}

// awaitEnd waits until the engine or the bus is closed. It then notifies the pending calls and ends
// the children. If the bus was closed, awaitEnd first ends e.ctx. It runs on a goroutine for which
// Close waits.
func (e *Engine) awaitEnd() {
	select {
	case <-e.ctx.Done():
	case <-e.bus.Done():
		e.cancel(bus.ErrClosed)
	}
	e.pending.notifyClosed()
	e.endChildren()
}

// Bounds returns the timeout of a call that starts now, and the time at which its request expires.
// own is the timeout of the call itself. If it is zero, the timeout is Config.Timeout or the time
// until the deadline of ctx, whichever is shorter, or Config.DefaultTimeout if there is neither.
// The expiry is never later than the deadline of ctx.
func (e *Engine) Bounds(ctx context.Context, now time.Time, own time.Duration) (timeout time.Duration, expiry time.Time) {
	deadline, hasDeadline := ctx.Deadline()
	timeout = e.config.Timeout
	if hasDeadline && (timeout == 0 || deadline.Sub(now) < timeout) {
		timeout = deadline.Sub(now)
	} else if timeout == 0 {
		timeout = e.config.DefaultTimeout
	}
	if own > 0 {
		timeout = own
	}
	timeout = min(timeout, transport.MaxTimeout)
	expiry = now.Add(timeout)
	if hasDeadline && !deadline.After(expiry) {
		expiry = deadline
	}
	return timeout, expiry
}

// subscribeReplies subscribes to the replies of a service, unless the engine has already done so.
// It waits for the bus no longer than Config.Timeout, or Config.DefaultTimeout if that is zero.
func (e *Engine) subscribeReplies(ctx context.Context, s *registry.Service) (*replySubscriptions, error) {
	e.mu.Lock()
	if err := e.Err(); err != nil {
		e.mu.Unlock()
		return nil, err
	}
	replies := e.replies[s.WireName()]
	if replies == nil {
		replies = newReplySubscriptions(&e.core, e, s)
		e.replies[s.WireName()] = replies
	}
	e.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, e.config.timeout())
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	err := replies.subscribe(ctx, hasStreams(s))
	if err != nil && e.Err() != nil {
		err = e.Err()
	}
	return replies, err
}

// onResponse implements replyHandler. The handler passes the response to the call that is waiting
// for it.
func (e *Engine) onResponse(channel bus.Channel) bus.Handler {
	return func(frame []byte) {
		response, _, err := transport.Decode(frame, wire.KindResponse, e.config.Decompression, wire.ParseUnawaitedResponse)
		if err != nil {
			e.drops.AddBad(channel, err)
			return
		}
		found, useful := e.pending.dispatch(response.RequestID, func(call pendingCall) bool { return call.onResponse(response) })
		if !found {
			e.lateResponses.OnResponse(response.RequestID, response.ServerID, response.Subscribers)
		}
		if !useful {
			e.drops.Add(transport.DropUnmatched, transport.DroppedFrame{Channel: channel.Name, Peer: response.ServerID})
		}
	}
}

// onClaim implements replyHandler. The handler passes the claim to the call that is waiting for it.
func (e *Engine) onClaim(channel bus.Channel) bus.Handler {
	return func(frame []byte) {
		claim, _, err := transport.Decode(frame, wire.KindClaimRequest, e.config.Decompression, wire.ParseClaimRequest)
		if err != nil {
			e.drops.AddBad(channel, err)
			return
		}
		found, useful := e.pending.dispatch(claim.RequestID, func(call pendingCall) bool { return call.onClaim(claim) })
		if !found {
			e.lateResponses.OnResponse(claim.RequestID, claim.ServerID, claim.Subscribers)
		}
		if !useful {
			e.drops.Add(transport.DropUnmatched, transport.DroppedFrame{Channel: channel.Name, Peer: claim.ServerID})
		}
	}
}

// onStream implements replyHandler.
func (e *Engine) onStream(channel bus.Channel) bus.Handler {
	return func(frame []byte) { e.streams.onFrame(channel, frame) }
}
