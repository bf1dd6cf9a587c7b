package serve

import (
	"bytes"
	"context"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// subscribe creates the subscriptions that do not exist yet. If claims is true, clients select
// servers by publishing grants. subscribe then subscribes to the grants first, so that none is
// missed.
func (i *inbound) subscribe(ctx context.Context, claims bool) error {
	if claims {
		if err := i.grants.Subscribe(ctx, i.engine.bus, i.grantChannel, bus.Broadcast, i.onGrant); err != nil {
			return err
		}
	}
	deliver := func(frame []byte) { i.onRequest(frame, false) }
	if i.isStream {
		deliver = i.onStream
	}
	if err := i.frames.Subscribe(ctx, i.engine.bus, i.channel, i.mode, deliver); err != nil {
		return err
	}
	if i.mode == bus.Queue {
		i.frames.NotifyRefused(i.onRefused)
	}
	return nil
}

// acquire returns the current endpoint e, and a token that the caller must pass to
// e.inFlight.Leave. It returns nil if the current endpoint is closed.
func (i *inbound) acquire() (*endpoint, *lifecycle.Token) {
	var tried *endpoint
	for {
		e := i.current()
		if e == tried {
			return nil, nil
		}
		if token := e.inFlight.Enter(); token != nil {
			return e, token
		}
		// The endpoint may have been replaced and closed since the call to current, so try again
		// with the new one.
		tried = e
	}
}

// onRequest handles a request. unicast reports whether the request was sent to this server only. If
// the endpoint is closed, onRequest returns false without handling the request. The bus calls
// onRequest, so it must not block.
func (i *inbound) onRequest(frame []byte, unicast bool) (open bool) {
	e, token := i.acquire()
	if e == nil {
		return false
	}
	if !startCall(e, frame, unicast, token) {
		e.inFlight.Leave(token)
	}
	return true
}

// onRefused handles a request that the broker has refused to assign to this process, for example
// because the broker's memory is full; see [bus.RefusalNotifier]. The bus calls onRefused, so it
// never blocks. The server declines the request. If all servers do so, the call fails at once.
func (i *inbound) onRefused(frame []byte) {
	if e, token := i.acquire(); e != nil {
		declineRefused(e, frame)
		e.inFlight.Leave(token)
	}
}

// onStream handles a frame from the stream channel. The bus calls it, so it never blocks. If the
// frame opens a stream, it is passed to the current endpoint. Any other frame is passed to its
// stream, which may belong to a replaced version of the service.
func (i *inbound) onStream(frame []byte) {
	engine := i.engine
	parsed, expanded, err := transport.Decode(frame, wire.KindStream, engine.limits, wire.ParseStream)
	if err != nil {
		engine.drops.AddBad(i.channel, err)
		return
	}
	if parsed.Op != wire.StreamOpen {
		if !i.streams.Dispatch(&parsed, expanded) {
			engine.drops.Add(transport.DropUnmatched, transport.DroppedFrame{Channel: i.channel.Name})
		}
		return
	}
	if e, token := i.acquire(); e != nil && !startStreamRequest(e, &parsed, max(len(frame), expanded), token) {
		e.inFlight.Leave(token)
	}
}

// onGrant is the bus.Handler for the grant channel.
func (i *inbound) onGrant(frame []byte) { i.engine.onGrant(i.grantChannel, frame) }

// onGrant handles a frame in which a client names the server that it has selected for a request.
// channel is the channel of the frame. onGrant never blocks.
func (e *Engine) onGrant(channel bus.Channel, frame []byte) {
	grant, _, err := transport.Decode(frame, wire.KindClaimResponse, e.limits, wire.ParseClaimResponse)
	if err != nil {
		e.drops.AddBad(channel, err)
		return
	}
	e.pendingClaims.resolve(grant.RequestID, bytes.Equal(grant.ServerID, e.wireID))
}
