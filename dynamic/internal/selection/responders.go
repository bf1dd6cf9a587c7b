package selection

// Weight is the part of a bus receiver that a server stands for, in units of 1/[OneReceiver]. Servers
// that share one receiver each weigh a fraction of it.
type Weight int64

// OneReceiver is the weight of a server that shares its receiver with no other. It is large enough
// that the error of rounding up, at most one unit a server, cannot add up to a missing server.
const OneReceiver Weight = 1 << 32

// WeightOf returns the weight of a server that shares its receiver with subscribers-1 others. Zero,
// which psrpc servers send, counts as one.
func WeightOf(subscribers uint32) Weight {
	servers := Weight(max(subscribers, 1))
	return (OneReceiver + servers - 1) / servers
}

// Responders are the servers that have answered a call, with their weights. The zero value is empty.
// A Responders is not safe for concurrent use.
type Responders struct {
	weights map[string]Weight // by server id
	total   Weight            // sum of weights
}

// Count returns the number of servers.
func (r *Responders) Count() int { return len(r.weights) }

// Has reports whether a server has answered.
func (r *Responders) Has(server string) bool {
	_, ok := r.weights[server]
	return ok
}

// Add adds a server. Adding a server again replaces its weight.
func (r *Responders) Add(server string, weight Weight) {
	if r.weights == nil {
		r.weights = map[string]Weight{}
	}
	r.total += weight - r.weights[server]
	r.weights[server] = weight
}

// countMatching returns the number of servers that r and other contain with the same weight.
func (r *Responders) countMatching(other *Responders) (matching int) {
	for server, weight := range r.weights {
		if known, ok := other.weights[server]; ok && known == weight {
			matching++
		}
	}
	return matching
}
