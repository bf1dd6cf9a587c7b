package dynamic

import "sync"

// roster is what a conn has learned of the servers of one method and topic: which ones answer. It makes it
// possible to tell that all of them have.
type roster struct {
	mu        sync.Mutex
	servers   map[string]struct{} // those that answered the last call that waited for all
	receivers int                 // how many the bus said there were then; bus.Unknown if it did not
}

// complete reports whether so many servers are all that got a request, as the bus has counted receivers; false if it
// has not. Several servers may share a subscription: those that did so lately are expected to do so again.
func (r *roster) complete(receivers int, answered []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.completeLocked(receivers, answered)
}

func (r *roster) completeLocked(receivers int, answered []string) bool {
	if receivers <= 0 {
		return false
	}
	sharing := 0
	if r.receivers > 0 {
		sharing = max(0, len(r.servers)-r.receivers)
	}
	return len(answered) >= receivers+sharing
}

// usual reports whether more answers are not to be expected: they are complete, or all have answered that usually
// do, and nothing says that there are others. Servers that keep silent, as psrpc's do when they decline, are not
// waited for.
func (r *roster) usual(receivers int, answered []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.completeLocked(receivers, answered) {
		return true
	}
	if len(r.servers) == 0 || receivers > 0 && receivers != r.receivers {
		return false
	}
	return r.known(answered) == len(r.servers)
}

// learn remembers who answered a call that heard all, or waited long enough for the others.
func (r *roster) learn(receivers int, answered []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receivers = receivers
	if len(answered) == len(r.servers) && r.known(answered) == len(answered) {
		return
	}
	r.servers = make(map[string]struct{}, len(answered))
	for _, server := range answered {
		r.servers[server] = struct{}{}
	}
}

// add remembers a server that answered late. A flood of names is not worth remembering.
func (r *roster) add(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.servers == nil {
		r.servers = map[string]struct{}{}
	}
	if len(r.servers) < maxClaims {
		r.servers[server] = struct{}{}
	}
}

// known counts the servers that have answered before.
func (r *roster) known(answered []string) (known int) {
	for _, server := range answered {
		if _, ok := r.servers[server]; ok {
			known++
		}
	}
	return known
}
