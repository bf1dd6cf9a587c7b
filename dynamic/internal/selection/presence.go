package selection

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// quietTime is how long a client waits for a further response after each response to its discovery
// request. If none arrives in that time, the client knows all servers that announce themselves. The
// first multi call on a channel waits equally long for psrpc servers, which do not announce
// themselves.
const quietTime = 200 * time.Millisecond

// maxUnanswered is how many times a discovery request is repeated if no server responds. The wait
// for a response doubles each time, to more than 3 minutes in the end.
const maxUnanswered = 10

// maxPresent is the maximum number of servers of a channel that a client remembers from their
// announcements.
const maxPresent = 100_000

// discovery is the state of a client's discovery of the servers of a channel.
type discovery uint8

const (
	// notAsked means that no discovery request has been sent, or that announcements may have been
	// lost since the last one.
	notAsked discovery = iota
	// asked means that a discovery request has been sent and responses may still arrive.
	asked
	// known means that all servers that announce themselves have responded.
	known
)

// presences holds the servers of a channel that have announced themselves. All of them are dynpsrpc
// servers, because psrpc servers do not announce themselves. The mutex of the Membership guards all
// fields.
type presences struct {
	discovery discovery
	// disconnects is the bus's count of lost connections at the time of the discovery request. If
	// the count has changed since then, announcements may have been lost.
	disconnects uint64
	// timer runs until the first response to the discovery request, for quietTime after each
	// response, and while a multi call waits for psrpc servers. At other times, it is nil.
	timer *time.Timer
	// servers holds the servers that have announced themselves and have not left, keyed by server
	// ID.
	servers map[string]presence
	// unconfirmed is set when announcements may have been lost. It holds the servers that have not
	// announced themselves again since then. They are forgotten when the discovery ends.
	unconfirmed map[string]struct{}
	// answered maps the IDs of the servers that have responded to the current discovery request to
	// their addresses. A response may contain the number of servers of the channel. expected is the
	// largest of these numbers, and informant is the address of the server that sent it. unsure
	// reports whether any response contained no number.
	answered  map[string]string
	expected  int
	informant string
	unsure    bool
	// unanswered is the number of discovery requests to which no server has responded, since a
	// server last responded to one.
	unanswered int
	// strangers is the number of servers that answered the last two calls without having announced
	// themselves. hasNewStrangersLocked sets it.
	strangers int
	// changes counts the events that may complete a call: servers join, drain or leave, the
	// discovery ends, and the wait for psrpc servers ends.
	changes uint64
	// waitedForPsrpc reports whether a multi call has waited for psrpc servers, which do not
	// announce themselves.
	waitedForPsrpc bool
	// watchers contains the wake-ups of the calls that must be woken after each change.
	watchers map[queue.Wakeup]struct{}
}

// presence records when a server has joined a channel and when it has stopped receiving requests.
// Both fields contain values of the counter presences.changes instead of clock times. They show
// whether a call was sent before or after each of these events.
type presence struct {
	// joined is the number of the change in which the server joined. It is 0 if the server already
	// served the channel when the client sent the discovery request, or if it has answered the
	// previous call.
	joined uint64
	// drained is the number of the change in which the server announced that it no longer receives
	// requests. It is 0 before that.
	drained uint64
}

// isExpected reports whether an answer to a call is expected from the server. since is the number
// of the last change before the call started.
func (s presence) isExpected(since uint64) bool {
	return s.joined <= since && (s.drained == 0 || s.drained > since)
}

// StartDiscovery reports whether the caller must send a discovery request, and if so, starts to
// wait for the responses. It returns true the first time. It returns true again after Lost has been
// called, after disconnects has changed, and if no server has responded in time. disconnects is the
// number of times that the bus has lost its connection to the broker.
func (m *Membership) StartDiscovery(disconnects uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &m.present
	if p.disconnects != disconnects {
		p.lostLocked()
		p.disconnects = disconnects
	}
	if p.discovery != notAsked {
		return false
	}
	p.discovery = asked
	m.waitForFirstLocked()
	return true
}

// Lost records that announcements or the discovery request may have been lost. The next call to
// StartDiscovery returns true.
func (m *Membership) Lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.present.lostLocked()
}

func (p *presences) lostLocked() {
	p.discovery = notAsked
	p.stopTimerLocked()
	p.answered, p.expected, p.informant, p.unsure = nil, 0, "", false
	p.unconfirmed = make(map[string]struct{}, len(p.servers))
	for server := range p.servers {
		p.unconfirmed[server] = struct{}{}
	}
}

func (p *presences) stopTimerLocked() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// OnAnswer records the response of a server to a discovery request. address is the address of the
// server, or empty if it has no unicast channel. members is the number of servers that the channel
// has according to this server, or zero if the server does not know the number. If every response
// contains a number, the discovery ends when the number of responses reaches the largest of them.
func (m *Membership) OnAnswer(server, address string, members uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onPresenceLocked(server, wire.PresenceServing)
	p := &m.present
	if p.discovery != asked || len(p.answered) >= maxPresent {
		return
	}
	m.waitForMoreLocked()
	if p.answered == nil {
		p.answered = map[string]string{}
	}
	p.answered[server] = address
	if p.unsure = p.unsure || members == 0; int(members) > p.expected {
		p.expected, p.informant = int(members), address
	}
	if !p.unsure && len(p.answered) >= p.expected {
		p.stopTimerLocked()
		p.endDiscoveryLocked()
	}
}

// OnPresence records an announcement of a server.
func (m *Membership) OnPresence(server string, state wire.PresenceState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onPresenceLocked(server, state)
}

func (m *Membership) onPresenceLocked(server string, state wire.PresenceState) {
	p := &m.present
	_, isUnconfirmed := p.unconfirmed[server]
	delete(p.unconfirmed, server)
	previous, ok := p.servers[server]
	switch {
	case state == wire.PresenceServing:
		if isNew := !ok && len(p.servers) < maxPresent; isNew || previous.drained > 0 {
			// If the server has answered the previous call, it served the channel before this
			// announcement, so current calls wait for it, too.
			p.joinLocked(server, isNew && m.members.Has(server))
		}
		// Only a server that is not known yet extends the wait for further responses. Known servers
		// may announce themselves again, for example after their bus has reconnected.
		if isKnown := ok && !isUnconfirmed && previous.drained == 0; p.discovery == asked && !isKnown {
			m.waitForMoreLocked()
		}
	case state == wire.PresenceDraining && ok && previous.drained == 0:
		p.changedLocked()
		previous.drained = p.changes
		p.servers[server] = previous
	case state == wire.PresenceLeft:
		delete(p.servers, server)
		m.members.remove(server)
		p.changedLocked()
	}
}

// joinLocked adds a server. It replaces a server with the same ID that no longer received requests.
// served reports whether the server is known to have served the channel before it announced itself.
func (p *presences) joinLocked(server string, served bool) {
	if p.servers == nil {
		p.servers = map[string]presence{}
	}
	p.changedLocked()
	joined := p.changes
	if served || p.discovery == asked {
		joined = 0
	}
	p.servers[server] = presence{joined: joined}
}

func (p *presences) changedLocked() {
	p.changes++
	for watcher := range p.watchers {
		watcher.Send()
	}
}

// waitForMoreLocked starts or restarts the wait for further responses to the discovery request.
func (m *Membership) waitForMoreLocked() {
	p := &m.present
	if p.timer != nil {
		p.timer.Reset(quietTime)
		return
	}
	p.timer = time.AfterFunc(quietTime, m.onQuiet)
}

// onQuiet is called when the timer fires: no further response to the discovery request has arrived
// in time, or the wait for psrpc servers is over.
func (m *Membership) onQuiet() {
	m.mu.Lock()
	p := &m.present
	mustAsk := false
	var answered []string
	// If the timer is nil, it was stopped in the meantime, because announcements may have been
	// lost.
	isAsked, isKnown := p.timer != nil && p.discovery == asked, p.timer != nil && p.discovery == known
	p.timer = nil
	switch {
	case isAsked && len(p.unconfirmed) >= len(p.servers):
		mustAsk = m.onNoResponseLocked()
	case isAsked:
		answered = p.answeredLocked()
		mustAsk = len(answered) > 0
		p.endDiscoveryLocked()
	case isKnown:
		p.waitedForPsrpc = true
		p.changedLocked()
	}
	m.mu.Unlock()
	if mustAsk && m.AskAgain != nil {
		m.AskAgain(answered)
	}
}

// waitForFirstLocked starts the wait for the first response to a discovery request.
func (m *Membership) waitForFirstLocked() {
	m.present.timer = time.AfterFunc(quietTime<<m.present.unanswered, m.onQuiet)
}

// onNoResponseLocked is called when no server has responded to the discovery request, which may
// have been lost. ask is true if a call is waiting. The caller must then send the request again.
// Otherwise, the next call to StartDiscovery returns true. After maxUnanswered repetitions without
// a response, all servers are probably psrpc servers, and no further requests are sent.
func (m *Membership) onNoResponseLocked() (ask bool) {
	p := &m.present
	if p.unanswered == maxUnanswered {
		return false
	}
	p.unanswered++
	if len(p.watchers) == 0 {
		p.discovery = notAsked
		return false
	}
	m.waitForFirstLocked()
	return true
}

// answeredLocked returns the addresses of the servers that have responded to the discovery request,
// beginning with the informant. It returns nil if a response contained no number of servers, or if
// the informant has no address.
func (p *presences) answeredLocked() []string {
	if p.unsure || p.informant == "" {
		return nil
	}
	answered := []string{p.informant}
	for _, address := range p.answered {
		if address != p.informant {
			answered = append(answered, address)
		}
	}
	return answered
}

// endDiscoveryLocked is called when no further responses to the discovery request are expected.
func (p *presences) endDiscoveryLocked() {
	p.discovery, p.unanswered = known, 0
	for server := range p.unconfirmed {
		delete(p.servers, server)
	}
	p.unconfirmed, p.answered = nil, nil
	p.changedLocked()
}

// hasNewStrangersLocked reports whether the number of strangers has changed and is not zero.
// Strangers are servers that have not announced themselves although they have answered two calls in
// a row, previous and current. They are psrpc servers, or dynpsrpc servers whose announcements were
// lost. Until the discovery has ended, hasNewStrangersLocked returns false.
func (p *presences) hasNewStrangersLocked(previous, current *Responders) bool {
	if p.discovery != known {
		return false
	}
	strangers := 0
	for server := range previous.weights {
		if _, announced := p.servers[server]; !announced && current.Has(server) {
			strangers++
		}
	}
	changed := strangers != p.strangers
	p.strangers = strangers
	return changed && strangers > 0
}

// Watch must be called when a call starts. Until Unwatch is called, the membership wakes w after
// each change that Changes counts. Watch records the start of the call in responders. Each server
// that answers the call must be added to responders.
func (m *Membership) Watch(w queue.Wakeup, responders *Responders) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.present.watchers == nil {
		m.present.watchers = map[queue.Wakeup]struct{}{}
	}
	m.present.watchers[w] = struct{}{}
	responders.since = m.present.changes
}

// Changes returns how many events have occurred that may complete a call. For example, it counts
// each server that joins or leaves.
func (m *Membership) Changes() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.present.changes
}

// Unwatch undoes Watch.
func (m *Membership) Unwatch(w queue.Wakeup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.present.watchers, w)
}

// presentAnsweredLocked reports whether all servers that have announced themselves, and all others
// that answered the previous call, have answered a call. It returns false if no server has
// announced itself, or if further announcements are expected in response to the discovery request.
func (m *Membership) presentAnsweredLocked(responders *Responders) bool {
	p := &m.present
	if !p.isKnownLocked() {
		return false
	}
	for server, presence := range p.servers {
		if presence.isExpected(responders.since) && !responders.Has(server) {
			return false
		}
	}
	for server := range m.members.weights {
		if _, announced := p.servers[server]; !announced && !responders.Has(server) {
			return false
		}
	}
	return responders.Count() > 0
}

// mayMissPsrpc reports whether there may be psrpc servers that have not answered a call yet,
// although all servers that have announced themselves have answered. psrpc servers do not announce
// themselves. They are known only if the bus counts receivers or if they have answered earlier
// calls.
func (m *Membership) mayMissPsrpc(receivers int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return receivers < 0 && m.members.Count() == 0
}

// KnowsAll reports whether all servers of the channel are known. This is the case if all servers
// that announce themselves have responded to the discovery request, and no other server answered
// the previous call.
func (m *Membership) KnowsAll() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for server := range m.members.weights {
		if _, announced := m.present.servers[server]; !announced {
			return false
		}
	}
	return m.present.isKnownLocked()
}

// isKnownLocked reports whether all servers that announce themselves are known and there is at
// least one.
func (p *presences) isKnownLocked() bool { return p.discovery == known && len(p.servers) > 0 }

// waitForPsrpcLocked reports whether a multi call has already waited for psrpc servers, which do
// not announce themselves. If not, and no timer is running, it starts the wait.
func (m *Membership) waitForPsrpcLocked() bool {
	p := &m.present
	if !p.waitedForPsrpc && p.timer == nil {
		p.timer = time.AfterFunc(quietTime, m.onQuiet)
	}
	return p.waitedForPsrpc
}

// forgetSilentLocked forgets the servers that should have answered a call and have not. They are
// added again when they announce themselves.
func (m *Membership) forgetSilentLocked(responders *Responders) {
	for server, presence := range m.present.servers {
		if presence.isExpected(responders.since) && !responders.Has(server) {
			delete(m.present.servers, server)
			delete(m.present.unconfirmed, server)
		}
	}
}
