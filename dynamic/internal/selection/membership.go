package selection

import (
	"maps"
	"sync"
)

// MaxClaims is the maximum number of claims that one call keeps. A Membership with that many
// members ignores late answers from further servers. The limit protects the memory from a flood of
// forged server IDs.
const MaxClaims = 1024

// maxMembers is the maximum number of servers that a Membership remembers after a call. If more
// have answered, most of their IDs are probably forged, and the Membership remembers none of them.
const maxMembers = 32_768

// Membership records which servers answer the calls to one method and topic. The package
// documentation explains when a call is complete. The zero value contains no servers. All methods
// are safe for concurrent use.
type Membership struct {
	// AskAgain is called when another discovery request must be sent. The lock of the Membership is
	// not held. AskAgain may be nil. It must be set before first use and must not block.
	//
	// If a server has reported more servers than have responded, answered holds the addresses of
	// those that have responded, beginning with the reporting server. Otherwise, answered is empty:
	// either no server has responded although a call is waiting, or a server that has not announced
	// itself answers calls.
	AskAgain func(answered []string)

	mu sync.Mutex
	// members holds the servers passed to the last call to Update, and the servers that have
	// answered late since then.
	members Responders
	// receivers is the number of receivers passed to the last call to Update. It is bus.Unknown if
	// the bus did not report a number.
	receivers int
	// hasSilent reports whether some receivers did not answer the call for which Update was last
	// called. They may be hanging processes or dead connections. IsComplete does not make the next
	// call wait for them again.
	hasSilent bool
	present   presences
	// Directory holds the servers that have a unicast channel. It has a lock of its own.
	Directory Directory
}

// IsComplete reports whether every server that got a request has answered it. receivers is the
// number of receivers that the bus reported, or negative if it does not report a number. responders
// holds the servers that have answered.
//
// If receivers is negative, the servers that have announced themselves and those that answered the
// previous call must have answered. The first multi call also waits for psrpc servers; see
// quietTime.
//
// If receivers is positive, the weights of the responders must add up to it; see the package
// documentation. Receivers that did not answer the previous call in time need not answer this one.
// This exception ends when the number of receivers changes or a server answers late.
func (m *Membership) IsComplete(receivers int, responders *Responders) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if receivers >= 0 {
		return m.isCompleteLocked(receivers, responders) || m.hasSilent && m.resemblesLastLocked(receivers, responders)
	}
	return m.presentAnsweredLocked(responders) && m.waitForPsrpcLocked()
}

func (m *Membership) isCompleteLocked(receivers int, responders *Responders) bool {
	return receivers > 0 && responders.total >= OneReceiver*Weight(receivers+m.hiddenServersLocked())
}

// hiddenServersLocked returns how many more servers than receivers there were in the previous call.
// There can be more servers than receivers because psrpc servers do not report that they share a
// receiver. The result is rounded down, because fractions occur only while servers join or leave.
func (m *Membership) hiddenServersLocked() int {
	if m.receivers <= 0 {
		return 0
	}
	return max(0, int(m.members.total/OneReceiver)-m.receivers)
}

// LikelyComplete reports whether no more answers are expected. Its parameters are those of
// IsComplete. It returns true if the weights of the answers add up to the number of receivers,
// because the call is then complete; see the package documentation. Otherwise, one of two rules
// applies:
//
//   - If the bus does not count receivers and servers have announced themselves, these servers and
//     all others that answered the previous call must have answered.
//   - In all other cases, the call must resemble the previous one: the number of receivers is the
//     same, and every server that answered the previous call has answered this one with the same
//     [Weight]. A different weight or number of receivers would mean that servers have joined or
//     left.
//
// LikelyComplete does not wait for servers that never answer. For example, psrpc servers do not
// answer when they decline a request.
func (m *Membership) LikelyComplete(receivers int, responders *Responders) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isCompleteLocked(receivers, responders) {
		return true
	}
	if receivers < 0 && m.present.isKnownLocked() {
		return m.presentAnsweredLocked(responders)
	}
	return m.resemblesLastLocked(receivers, responders)
}

// resemblesLastLocked reports whether a call resembles the previous one. The number of receivers
// must be the same, and all servers that answered the previous call must have answered this one
// with the same weight. It returns false if no server answered the previous call.
func (m *Membership) resemblesLastLocked(receivers int, responders *Responders) bool {
	if m.members.Count() == 0 || receivers > 0 && receivers != m.receivers {
		return false
	}
	return responders.countMatching(&m.members) == m.members.Count()
}

// Update replaces the members with the servers that have answered a call. It also forgets the
// servers that have announced themselves, but did not answer the call although they should have.
// The caller must have waited until all servers have answered or until a timeout has expired.
func (m *Membership) Update(receivers int, responders *Responders) {
	if m.update(receivers, responders) && m.AskAgain != nil {
		m.AskAgain(nil)
	}
}

// update does the work of Update. It reports whether a discovery request must be sent.
func (m *Membership) update(receivers int, responders *Responders) (ask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ask = m.present.hasNewStrangersLocked(&m.members, responders)
	m.hasSilent = receivers > 0 && !m.isCompleteLocked(receivers, responders)
	m.receivers = receivers
	m.forgetSilentLocked(responders)
	if responders.Count() > maxMembers {
		m.members = Responders{}
		return ask
	}
	if responders.Count() == m.members.Count() && responders.countMatching(&m.members) == responders.Count() {
		return ask
	}
	m.members = Responders{weights: maps.Clone(responders.weights), total: responders.total}
	return ask
}

// Count returns the number of servers that answered the previous call.
func (m *Membership) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members.Count()
}

// AddAll adds servers that answered after their call was complete.
func (m *Membership) AddAll(responders *Responders) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for server, weight := range responders.weights {
		m.addLocked(server, weight)
	}
}

// add adds a server that answered late.
func (m *Membership) add(server string, weight Weight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(server, weight)
}

// addLocked adds a server that answered late. If the membership is full, addLocked ignores servers
// that it does not contain yet.
func (m *Membership) addLocked(server string, weight Weight) {
	if m.members.Count() < MaxClaims || m.members.Has(server) {
		m.members.Add(server, weight)
	}
}
