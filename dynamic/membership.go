package dynamic

import (
	"maps"
	"sync"
)

// membership is what a conn has learned of the servers of one method and topic: which ones answer. It makes it
// possible to tell that all of them have.
type membership struct {
	mu        sync.Mutex
	members   responders // those that answered the last call that waited for all, and later ones
	receivers int        // how many the bus said there were then; bus.Unknown if it did not
}

// hasNoRequired reports whether these servers are all that got a request, as the bus has counted receivers; false if it
// has not.
func (r *membership) isComplete(receivers int, answered *responders) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isCompleteLocked(receivers, answered)
}

func (r *membership) isCompleteLocked(receivers int, answered *responders) bool {
	return receivers > 0 && answered.total >= oneReceiver*weight(receivers+r.hiddenServersLocked())
}

// hiddenServersLocked is how many servers there were lately beyond the receivers: psrpc's do not say that they share one.
// What is less than a whole comes from servers that joined or left meanwhile.
func (r *membership) hiddenServersLocked() int {
	if r.receivers <= 0 {
		return 0
	}
	return max(0, int(r.members.total/oneReceiver)-r.receivers)
}

// likelyComplete reports whether more answers are not to be expected: they are complete, or all have answered that usually
// do, and nothing says that there are others. Servers that keep silent, as psrpc's do when they decline, are not
// waited for.
func (r *membership) likelyComplete(receivers int, answered *responders) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isCompleteLocked(receivers, answered) {
		return true
	}
	if r.members.count() == 0 || receivers > 0 && receivers != r.receivers {
		return false
	}
	return answered.countMatching(&r.members) == r.members.count() // a share that is another tells of servers that came or left
}

// update remembers who answered a call that heard all, or waited long enough for the others.
func (r *membership) update(receivers int, answered *responders) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receivers = receivers
	if answered.count() == r.members.count() && answered.countMatching(&r.members) == answered.count() {
		return
	}
	r.members = responders{weights: maps.Clone(answered.weights), total: answered.total}
}

// add remembers a server that answered late. A flood of names is not worth remembering.
func (r *membership) add(server string, s weight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members.count() < maxClaims || r.members.has(server) {
		r.members.add(server, s)
	}
}
