package dynamic

import (
	"maps"
	"sync"
)

// roster is what a conn has learned of the servers of one method and topic: which ones answer. It makes it
// possible to tell that all of them have.
type roster struct {
	mu        sync.Mutex
	servers   attendance // those that answered the last call that waited for all, and later ones
	receivers int        // how many the bus said there were then; bus.Unknown if it did not
}

// complete reports whether these servers are all that got a request, as the bus has counted receivers; false if it
// has not.
func (r *roster) complete(receivers int, answered *attendance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.completeLocked(receivers, answered)
}

func (r *roster) completeLocked(receivers int, answered *attendance) bool {
	return receivers > 0 && answered.total >= wholeShare*share(receivers+r.uncountedLocked())
}

// uncountedLocked is how many servers there were lately beyond the receivers: psrpc's do not say that they share one.
// What is less than a whole comes from servers that joined or left meanwhile.
func (r *roster) uncountedLocked() int {
	if r.receivers <= 0 {
		return 0
	}
	return max(0, int(r.servers.total/wholeShare)-r.receivers)
}

// usual reports whether more answers are not to be expected: they are complete, or all have answered that usually
// do, and nothing says that there are others. Servers that keep silent, as psrpc's do when they decline, are not
// waited for.
func (r *roster) usual(receivers int, answered *attendance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.completeLocked(receivers, answered) {
		return true
	}
	if r.servers.count() == 0 || receivers > 0 && receivers != r.receivers {
		return false
	}
	return answered.equal(&r.servers) == r.servers.count() // a share that is another tells of servers that came or left
}

// learn remembers who answered a call that heard all, or waited long enough for the others.
func (r *roster) learn(receivers int, answered *attendance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receivers = receivers
	if answered.count() == r.servers.count() && answered.equal(&r.servers) == answered.count() {
		return
	}
	r.servers = attendance{shares: maps.Clone(answered.shares), total: answered.total}
}

// add remembers a server that answered late. A flood of names is not worth remembering.
func (r *roster) add(server string, s share) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.servers.count() < maxClaims || r.servers.has(server) {
		r.servers.add(server, s)
	}
}
