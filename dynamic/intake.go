package dynamic

import (
	"context"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// intake is what a served method hears of the bus, on one topic if it has topics. It brings that to the listener which
// serves the method at the time. A listener that replaces another takes its intake over: so nothing is missed, and
// nothing comes twice.
type intake struct {
	server         *Server
	isStream       bool
	channel        bus.Channel // of requests, or of the frames of streams
	join           bus.Mode
	grantChannel   bus.Channel
	frames, grants lazySubscription
	streams        streamTable // of all its listeners

	destination atomic.Pointer[destination]
	listening   atomic.Int32 // listeners that have not stopped
	grantable   atomic.Int32 // listeners that may still be granted something
}

// destination is where the frames of an intake go: to listener, or, once they have been handed over, to next.
type destination struct {
	listener, next *listener
	handedOver     *atomic.Bool // for all intakes of a service at once; nil unless that is under way
}

// newIntake returns an intake of which l is the listener.
func newIntake(l *listener) *intake {
	method, server := l.method.method, l.method.registration.server
	service := method.Service().WireName()
	i := &intake{
		server:       server,
		isStream:     method.Kind() == registry.KindStream,
		grantChannel: bus.Channel(wire.ClaimResponseChannel(service, method.WireName(), l.topic)),
		frames:       lazySubscription{closedErr: errors.ErrServerClosed},
		grants:       lazySubscription{closedErr: errors.ErrServerClosed},
		streams:      streamTable{counters: &server.stats.streams},
	}
	if i.isStream { // which no queue distributes
		i.channel = bus.Channel(wire.StreamServerChannel(service, method.WireName(), l.topic))
	} else {
		i.channel = bus.Channel(wire.RequestChannel(service, method.WireName(), l.topic, method.Queue()))
		if method.Queue() {
			i.join = bus.Queue
		}
	}
	i.destination.Store(&destination{listener: l})
	i.add()
	return i
}

// add counts a listener, which must stop and release.
func (i *intake) add() {
	i.listening.Add(1)
	i.grantable.Add(1)
}

// open subscribes to what is not subscribed yet. The grants come first, so that the first request can already be claimed.
func (i *intake) open(ctx context.Context, claims bool) error {
	if claims {
		if err := i.grants.subscribe(ctx, i.server.bus, i.grantChannel, bus.Broadcast, i.server.onGrant); err != nil {
			return err
		}
	}
	deliver := i.onRequest
	if i.isStream {
		deliver = i.onStream
	}
	return i.frames.subscribe(ctx, i.server.bus, i.channel, i.join, deliver)
}

// current returns the listener to which frames go now.
func (i *intake) current() *listener {
	d := i.destination.Load()
	if d.handedOver != nil && d.handedOver.Load() {
		return d.next
	}
	return d.listener
}

// enter returns the listener that takes what has come, and the place in its gate that must be left when that was
// served; nil if it is too late.
func (i *intake) enter() (*listener, *lifecycle.Token) {
	var tried *listener
	for {
		l := i.current()
		if l == tried { // no other one has its place
			return nil, nil
		}
		if place := l.handling.Enter(); place != nil {
			return l, place
		}
		tried = l
	}
}

// onRequest takes a frame from the bus; it never blocks.
func (i *intake) onRequest(frame []byte) {
	if l, place := i.enter(); l != nil && !l.onRequest(frame, place) {
		l.handling.Leave(place)
	}
}

// onStream takes a frame from the bus; it never blocks.
func (i *intake) onStream(frame []byte) {
	value, ok := decodeFrame(frame, wire.KindStream, i.server.options.maxFrameSize)
	parsed, err := wire.ParseStream(value)
	if !ok || err != nil {
		i.server.stats.badFrames.Add(1)
		return
	}
	if parsed.Op != wire.StreamOpen {
		i.streams.deliver(&parsed)
		return
	}
	if l, place := i.enter(); l != nil && !l.onOpen(&parsed, place) {
		l.handling.Leave(place)
	}
}

// stop takes no more requests for a listener, unless another one has its place, and closes its streams.
func (i *intake) stop(l *listener) {
	if !i.isStream && i.current() == l {
		i.frames.close()
	}
	i.streams.close(l)
	l.leaving.Do(func() { i.listening.Add(-1) })
	if i.listening.Load() == 0 { // until then others may have streams
		i.frames.close()
	}
}

// release is for a listener that is granted nothing any more.
func (i *intake) release() {
	if i.grantable.Add(-1) == 0 {
		i.grants.close()
	}
}
