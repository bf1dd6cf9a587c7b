package selection

// Weight is the fraction of a bus receiver that a server accounts for, in units of 1/[OneReceiver].
// If several servers share a receiver, each of them accounts for an equal part of it.
type Weight int64

// OneReceiver is the weight of a server that does not share its receiver. Weights are rounded up by
// at most one unit per server. OneReceiver is so large that these rounding errors cannot add up to
// the weight of a missing server.
const OneReceiver Weight = 1 << 32

// WeightOf returns the weight of a server that shares its receiver with subscribers-1 other
// servers. A subscribers value of zero, as sent by psrpc servers, is treated as one.
func WeightOf(subscribers uint32) Weight {
	servers := Weight(max(subscribers, 1))
	return (OneReceiver + servers - 1) / servers
}

// Responders holds the servers that have answered a call, with their weights. The zero value is
// empty. Responders is not safe for concurrent use.
type Responders struct {
	weights map[string]Weight // keyed by server ID
	total   Weight            // sum of weights
}

// Count returns the number of servers.
func (r *Responders) Count() int { return len(r.weights) }

// Has reports whether the server has answered.
func (r *Responders) Has(server string) bool {
	_, ok := r.weights[server]
	return ok
}

// Add adds a server. If the server is already present, Add replaces its weight.
func (r *Responders) Add(server string, weight Weight) {
	if r.weights == nil {
		r.weights = map[string]Weight{}
	}
	r.total += weight - r.weights[server]
	r.weights[server] = weight
}

// countMatching returns the number of servers that have the same weight in r and other.
func (r *Responders) countMatching(other *Responders) (matching int) {
	for server, weight := range r.weights {
		if known, ok := other.weights[server]; ok && known == weight {
			matching++
		}
	}
	return matching
}
