package selection

import (
	"maps"
	"sync"
)

// MaxClaims is the largest number of claims that one call keeps, and of members that a Membership
// learns from late answers. It bounds the memory that a flood of forged server ids can take.
const MaxClaims = 1024

// Membership is what a client has learned about the servers of one method and topic: which of them
// answer. The package comment explains how it decides that a call is complete. The zero value knows
// no servers. All methods may be called from many goroutines.
type Membership struct {
	mu        sync.Mutex
	members   Responders // of the last call that waited for all servers, and later answers
	receivers int        // of that call, as the bus counted; bus.Unknown if it did not
}

// IsComplete reports whether responders are all the servers that got a request, by the number of
// receivers that the bus counted. It is false if the bus counted none.
func (m *Membership) IsComplete(receivers int, responders *Responders) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.isCompleteLocked(receivers, responders)
}

func (m *Membership) isCompleteLocked(receivers int, responders *Responders) bool {
	return receivers > 0 && responders.total >= OneReceiver*Weight(receivers+m.hiddenServersLocked())
}

// hiddenServersLocked returns how many more servers than receivers the last complete call found:
// psrpc servers share a receiver without saying so. Fractions are rounded away, since they only occur
// while servers join or leave.
func (m *Membership) hiddenServersLocked() int {
	if m.receivers <= 0 {
		return 0
	}
	return max(0, int(m.members.total/OneReceiver)-m.receivers)
}

// LikelyComplete reports whether no further answer is expected: the call is complete, or every server
// that answered the last call has answered this one, with the same weight and the same number of
// receivers. A different weight or number means that servers have joined or left. Servers that stay
// silent, as psrpc servers do when they decline a request, are not waited for.
func (m *Membership) LikelyComplete(receivers int, responders *Responders) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isCompleteLocked(receivers, responders) {
		return true
	}
	if m.members.Count() == 0 || receivers > 0 && receivers != m.receivers {
		return false
	}
	return responders.countMatching(&m.members) == m.members.Count()
}

// Update replaces the members by the responders of a call that heard from all servers, or that waited
// long enough for the others.
func (m *Membership) Update(receivers int, responders *Responders) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receivers = receivers
	if responders.Count() == m.members.Count() && responders.countMatching(&m.members) == responders.Count() {
		return
	}
	m.members = Responders{weights: maps.Clone(responders.weights), total: responders.total}
}

// AddAll adds servers that answered after the call was complete.
func (m *Membership) AddAll(responders *Responders) {
	for server, weight := range responders.weights {
		m.add(server, weight)
	}
}

// add adds a server that answered late.
func (m *Membership) add(server string, weight Weight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.members.Count() < MaxClaims || m.members.Has(server) {
		m.members.Add(server, weight)
	}
}
