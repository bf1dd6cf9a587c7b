package dynamic

import (
	"context"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// listener serves one method, on one topic if it has topics, for one version of a service.
type listener struct {
	method *servedMethod
	topic  []string
	name   string    // of the request channel
	handle serveFunc // of a method that is a call; through the interceptors
	intake *intake

	// inherited says that it is there because the version before had it. The registration's mu guards it.
	inherited bool

	handling lifecycle.InFlight // inside: requests and streams that are being handled
	closing  chan struct{}      // closed when no more are taken

	stopping, leaving, freeing sync.Once
}

// newListener returns a listener with an intake of its own.
func newListener(method *servedMethod, topic []string) *listener {
	l := &listener{
		method:  method,
		topic:   slices.Clone(topic),
		name:    method.registration.listenerName(method.method, topic),
		closing: make(chan struct{}),
	}
	l.intake = newIntake(l)
	l.handle = method.handler.intercepted(method.registration.interceptors.rpc, newRPCInfo(method.method, l.topic))
	return l
}

// open makes the method reachable.
func (l *listener) open(ctx context.Context) error {
	return l.intake.open(ctx, l.method.method.RequireClaim())
}

// sharers returns how many servers the bus counts as one receiver with this one, 0 if it is by itself or if no client
// waits until all have answered. It is so as of now: for a request ask when it comes.
func (l *listener) sharers() uint32 {
	if l.method.method.Queue() {
		return 0
	}
	return l.intake.frames.subscribers()
}

func (l *listener) isClosing() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// stop takes no more requests, and closes the streams.
func (l *listener) stop() {
	l.stopping.Do(func() { close(l.closing) })
	if l.intake.isStream { // another server, or version, will claim it
		l.handling.Close()
	}
	l.intake.stop(l)
}

// free stops, and is granted nothing any more.
func (l *listener) free() {
	l.stop()
	l.freeing.Do(l.intake.release)
}
