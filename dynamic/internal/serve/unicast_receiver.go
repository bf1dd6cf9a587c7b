package serve

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// unicastReceiver receives the frames that are sent to this server only, for example requests of
// clients and answers of other servers. There is one for each service of a server. All versions of
// the service share it, so that no request is lost or handled twice during [Service.Replace].
type unicastReceiver struct {
	// address identifies the unicast channel; see [wire.Presence.Address].
	address string
	// requests is the subscription to the unicast channel.
	requests transport.LazySubscription
	// peers holds the other servers of the service.
	peers peers
	// service is the current version of the service.
	service   atomic.Pointer[Service]
	namesakes transport.Namesakes
	// warnedOfID reports whether this server has logged a warning about another server with the
	// same ID.
	warnedOfID atomic.Bool
	// reannouncing makes the server announce itself again, for example after its bus has
	// reconnected.
	reannouncing reannouncing
}

func newUnicastReceiver(s *Service) *unicastReceiver {
	u := &unicastReceiver{
		address:  id.NewServer(),
		requests: transport.LazySubscription{ClosedErr: errors.ErrServerClosed},
		peers:    peers{announcements: transport.LazySubscription{ClosedErr: errors.ErrServerClosed}},

		namesakes: transport.Namesakes{Service: s.Descriptor, Logger: s.engine.Logger},
	}
	u.service.Store(s)
	return u
}

// channel returns the unicast channel.
func (u *unicastReceiver) channel() bus.Channel {
	return bus.Channel(wire.UnicastChannel(u.service.Load().Descriptor.WireName(), u.address))
}

// closeFor closes the subscriptions if s is the current version of the service.
func (u *unicastReceiver) closeFor(s *Service) {
	if u.service.Load() == s {
		u.reannouncing.close()
		u.requests.Close()
		u.peers.announcements.Close()
	}
}

// reannouncing holds the timer after which this server announces all of its channels again. It is
// set after the bus has reconnected, because the server may have missed discovery requests and
// announcements. It is also set if another server has announced by mistake that this server is
// gone.
type reannouncing struct {
	mu     sync.Mutex
	closed bool
	// timer is nil if no announcement is due.
	timer *time.Timer
}

// after calls the function announce when the pause is over. It does nothing if another call is due
// or if close has been called.
func (a *reannouncing) after(pause time.Duration, announce func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.timer != nil {
		return
	}
	a.timer = time.AfterFunc(pause, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.timer = nil
		if !a.closed {
			announce()
		}
	})
}

// close cancels the announcement that is due, and makes later calls to after do nothing.
func (a *reannouncing) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
