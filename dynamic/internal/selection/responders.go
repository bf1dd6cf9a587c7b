package selection

// Weight says how much the answer of one server counts towards the number of receivers that the bus
// has reported. A receiver is a connection to the bus, which several servers may share; each of
// them then has an equal part of [OneReceiver]. For example, if three servers share a receiver,
// each of them has a third of OneReceiver, and their three answers together count as one receiver.
type Weight int64

// OneReceiver is the weight of a server that does not share its receiver. Weights are rounded up by
// at most one unit per server. OneReceiver is so large that the rounding errors of all servers
// together are smaller than the weight of a single server.
const OneReceiver Weight = 1 << 32

// WeightOf returns the weight of a server that shares its receiver with subscribers-1 other
// servers. Servers send the number of subscribers in their claims and responses. psrpc servers do
// not send it, and for them subscribers is zero. WeightOf treats zero as one.
func WeightOf(subscribers uint32) Weight {
	servers := Weight(max(subscribers, 1))
	return (OneReceiver + servers - 1) / servers
}

// Responders holds the servers that have answered a call, with their weights. The zero value is
// empty. Responders is not safe for concurrent use.
type Responders struct {
	// weights holds the weight of each server. The keys are server IDs.
	weights map[string]Weight
	// total is the sum of the weights.
	total Weight
	// since is the number that [Membership.Changes] returned when the call started. Servers that
	// have joined later, or had already stopped receiving requests by then, need not answer the
	// call.
	since uint64
}

// Grow allocates memory for the expected number of servers. It may be called only while r is empty.
func (r *Responders) Grow(servers int) {
	if servers > 0 {
		r.weights = make(map[string]Weight, servers)
	}
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

// remove removes a server if it is present.
func (r *Responders) remove(server string) {
	r.total -= r.weights[server]
	delete(r.weights, server)
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
