package dynamic

// share is which part of a receiver a server is: servers that the bus counts as one receiver share it.
type share int64

// wholeShare is a receiver. It is so large that shares, which are rounded up, never make up for one that is missing.
const wholeShare share = 1 << 32

// shareOf returns the share of one of so many servers. Those of peers that say nothing of it are by themselves.
func shareOf(sharers uint32) share {
	servers := share(max(sharers, 1))
	return (wholeShare + servers - 1) / servers
}

// attendance is the servers that have answered a call.
type attendance struct {
	shares map[string]share // by server id
	total  share
}

func (a *attendance) count() int { return len(a.shares) }

func (a *attendance) has(server string) bool {
	_, ok := a.shares[server]
	return ok
}

// add takes in a server. Of one that is there already the last word counts.
func (a *attendance) add(server string, s share) {
	if a.shares == nil {
		a.shares = map[string]share{}
	}
	a.total += s - a.shares[server]
	a.shares[server] = s
}

// equal counts the servers that are in both with the same share.
func (a *attendance) equal(other *attendance) (equal int) {
	for server, s := range a.shares {
		if known, ok := other.shares[server]; ok && known == s {
			equal++
		}
	}
	return equal
}
