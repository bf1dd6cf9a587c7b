package dynamic

// weight is which part of a receiver a server is: servers that the bus counts as one receiver share it.
type weight int64

// oneReceiver is a receiver. It is so large that shares, which are rounded up, never make up for one that is missing.
const oneReceiver weight = 1 << 32

// weightOf returns the share of one of so many servers. Those of peers that say nothing of it are by themselves.
func weightOf(subscribers uint32) weight {
	servers := weight(max(subscribers, 1))
	return (oneReceiver + servers - 1) / servers
}

// responders is the servers that have answered a call.
type responders struct {
	weights map[string]weight // by server id
	total   weight
}

func (a *responders) count() int { return len(a.weights) }

func (a *responders) has(server string) bool {
	_, ok := a.weights[server]
	return ok
}

// add takes in a server. Of one that is there already the last word counts.
func (a *responders) add(server string, s weight) {
	if a.weights == nil {
		a.weights = map[string]weight{}
	}
	a.total += s - a.weights[server]
	a.weights[server] = s
}

// countMatching counts the servers that are in both with the same share.
func (a *responders) countMatching(other *responders) (equal int) {
	for server, s := range a.weights {
		if known, ok := other.weights[server]; ok && known == s {
			equal++
		}
	}
	return equal
}
