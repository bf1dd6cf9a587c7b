package serve

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// reannouncePause is the average time between the announcements of two servers of a fleet after all
// of them have reconnected to the broker. Each announcement reaches all clients of the service, and
// other servers answer it.
const reannouncePause = time.Millisecond

// announceAgain announces all channels of the service again. It first pauses for a random time,
// which is longer the more servers there are, because all of them may have reconnected at once.
// announceAgain never blocks.
func (u *unicastReceiver) announceAgain() {
	servers := u.peers.restart()
	//nolint:gosec // the pause need not be unpredictable
	pause := rand.N(time.Duration(servers) * reannouncePause)
	u.reannouncing.after(pause, func() { u.service.Load().engine.workers.Go(&reannouncement{u}) })
}

// onOwnPresence handles a message about this server. If another server has announced by mistake
// that this server is gone, this server announces itself again. Messages that this server has
// published itself have no effect.
func (u *unicastReceiver) onOwnPresence(presence *wire.Presence) {
	if presence.State != wire.PresenceLeft {
		return
	}
	s := u.service.Load()
	if slices.ContainsFunc(presence.Channels, func(name []byte) bool {
		e := s.endpoint(name)
		return e != nil && s.serves(e)
	}) {
		u.announceAgain()
	}
}

// reannouncement is a task for the server's worker pool. The task is to announce all channels of
// the service again.
type reannouncement struct{ *unicastReceiver }

// serve implements task. If an endpoint is deregistered or suspended while its channel is being
// announced, clients may receive the two messages in the wrong order. So serve announces once more
// that the channel is no longer served.
func (a *reannouncement) serve() {
	a.peers.restart()
	s := a.service.Load()
	for endpoints := range slices.Chunk(s.currentEndpoints(), maxAnnouncedChannels) {
		endpoints = slices.DeleteFunc(endpoints, func(e *endpoint) bool { return !s.serves(e) })
		s.announce(wire.PresenceServing, endpoints...)
		s.announce(wire.PresenceDraining, slices.DeleteFunc(endpoints, s.serves)...)
	}
}

// serves reports whether the service accepts requests for an endpoint. It returns false as soon as
// the service has been replaced, or the endpoint is about to be closed, deregistered or suspended.
func (s *Service) serves(e *endpoint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end == nil && !s.replaced && s.endpoints[e.name] == e && e.isAnnounced()
}
