package dynamic

import (
	"context"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// listener is the subscriptions of one served method, on one topic if it has topics.
type listener struct {
	method           *servedMethod
	topic            []string
	handle           serveFunc // of a method that is a call; through the interceptors
	requests, grants subscriptionSlot
	requestChannel   bus.Channel
	grantChannel     bus.Channel

	handling *lifecycle.Gate // inside: requests and streams that are being handled
	closing  chan struct{}   // closed when no more are taken
	stopping sync.Once

	// Of a method that is a stream, instead of the requests.
	streamFrames  subscriptionSlot
	streamChannel bus.Channel
	streams       streamTable
}

func newListener(method *servedMethod, topic []string) *listener {
	service, name := method.registration.service.WireName(), method.method.WireName()
	l := &listener{
		method:         method,
		topic:          slices.Clone(topic),
		handling:       lifecycle.NewGate(),
		closing:        make(chan struct{}),
		requests:       subscriptionSlot{whenClosed: errors.ErrServerClosed},
		grants:         subscriptionSlot{whenClosed: errors.ErrServerClosed},
		requestChannel: bus.Channel(wire.RequestChannel(service, name, topic, method.method.Queue())),
		grantChannel:   bus.Channel(wire.ClaimResponseChannel(service, name, topic)),
		streamFrames:   subscriptionSlot{whenClosed: errors.ErrServerClosed},
		streamChannel:  bus.Channel(wire.StreamServerChannel(service, name, topic)),
		streams:        streamTable{counters: &method.registration.server.stats.streams},
	}
	l.handle = method.handler.intercepted(method.registration.interceptors.rpc, newRPCInfo(method.method, l.topic))
	return l
}

// open subscribes. The grants come first, so that the first request can already be claimed.
func (l *listener) open(ctx context.Context) error {
	server, method := l.method.registration.server, l.method.method
	if method.RequireClaim() {
		if err := l.grants.subscribe(ctx, server.bus, l.grantChannel, bus.Plain, server.onGrant); err != nil {
			return err
		}
	}
	if method.Kind() == registry.KindStream { // which no queue distributes
		return l.streamFrames.subscribe(ctx, server.bus, l.streamChannel, bus.Plain, l.onStream)
	}
	join := bus.Plain
	if method.Queue() {
		join = bus.Queue
	}
	return l.requests.subscribe(ctx, server.bus, l.requestChannel, join, l.onRequest)
}

// start has a request or stream served. It reports false if it is too late for that.
func (l *listener) start(j job) bool {
	r := l.method.registration
	if !r.handling.Enter() {
		return false
	}
	if !l.handling.Enter() {
		r.handling.Leave()
		return false
	}
	if !r.server.workers.Go(j) {
		l.served()
		return false
	}
	return true
}

// sharers returns how many servers the bus counts as one receiver with this one, 0 if it is by itself or if no client
// waits until all have answered. It is so as of now: for a request ask when it comes.
func (l *listener) sharers() uint32 {
	switch method := l.method.method; {
	case method.Queue():
		return 0
	case method.Kind() == registry.KindStream:
		return l.streamFrames.sharers()
	default:
		return l.requests.sharers()
	}
}

func (l *listener) isClosing() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// served says that what was started is done.
func (l *listener) served() {
	l.handling.Leave()
	l.method.registration.handling.Leave()
}

// stop takes no more requests, and closes the streams.
func (l *listener) stop() {
	l.stopping.Do(func() { close(l.closing) })
	l.requests.close()
	l.streams.close(errors.ErrStreamEOF)
	l.streamFrames.close()
}
