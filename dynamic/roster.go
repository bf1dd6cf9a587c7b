package dynamic

import "sync"

// roster is what a conn has learned of the servers of one method and topic: which ones answer. It makes it
// possible to tell that all of them have.
type roster struct {
	mu        sync.Mutex
	servers   map[string]struct{} // those that answered the last call that heard all
	receivers int                 // how many the bus said there were then; bus.Unknown if it did not
}

// heard reports whether these servers are all that will answer a request that receivers subscriptions got, 0 or
// less if that is not known. Several servers may share a subscription, and a server may keep silent: what was
// learned from earlier calls makes up for both.
func (r *roster) heard(receivers int, answered []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if receivers > 0 {
		sharing := 0
		if r.receivers > 0 {
			sharing = max(0, len(r.servers)-r.receivers)
		}
		if len(answered) >= receivers+sharing {
			return true
		}
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

// known counts the servers that have answered before.
func (r *roster) known(answered []string) (known int) {
	for _, server := range answered {
		if _, ok := r.servers[server]; ok {
			known++
		}
	}
	return known
}
