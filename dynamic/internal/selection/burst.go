package selection

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBurst is the maximum number of requests in a burst.
	maxBurst = 16
	// maxBusy is the maximum number of calls of a member at which a burst may begin.
	maxBusy = 4
	// maxTurns is the maximum number of members that are considered for a burst.
	maxTurns = 4
	// maxBurstTime is the longest time in which members may usually serve a request if they are to
	// get bursts.
	maxBurstTime = 500 * time.Microsecond
	// servedWeight is the weight of the moving average in bursts.servedIn: each value contributes
	// 1/servedWeight of its difference to the average.
	servedWeight = 8
)

// bursts distributes requests among members in bursts. A burst consists of requests of concurrent
// callers that go to the same member.
//
// Requests that are sent to one server at about the same time share packets, system calls and
// wake-ups of the client, the broker and the server, and so do their responses. If each request
// goes to another server, this advantage is lost: with 64 callers and 30 servers on one machine,
// Redis completes 0.5 times as many calls as with one server, but 0.85 times with bursts.
//
// A burst does harm if a request occupies its server for long, because the other servers are idle
// in the meantime. Requests are therefore sent in bursts only while members usually serve a request
// within maxBurstTime, including the time in which it waits for a processor. A burst begins at a
// member with few calls of this client, and ends when it has none. Members take turns, so a single
// caller distributes its calls evenly.
//
// All methods are safe for concurrent use. The zero value is ready to use.
type bursts struct {
	// servedIn is the moving average of the time in which the members serve a request, in
	// nanoseconds. It is zero before the first response.
	servedIn atomic.Int64

	mu sync.Mutex
	// choices is the value of Directory.choices to which the following fields apply.
	choices *[]*Member
	// turn is the index of the member whose turn it was most recently.
	turn int
	// member gets the current burst, and left is the number of further requests that may be added
	// to it. If there is no current burst, left is zero.
	member *Member
	left   int
}

// choose returns the member to which a request is to be sent as part of a burst, and counts one
// more call for that member. It returns nil if the request must not be part of a burst.
func (b *bursts) choose(choices *[]*Member) *Member {
	members := *choices
	if servedIn := b.servedIn.Load(); servedIn == 0 || servedIn > int64(maxBurstTime) || len(members) == 1 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.choices != choices {
		//nolint:gosec // the choice need not be unpredictable
		b.choices, b.turn, b.left = choices, rand.IntN(len(members)), 0
	}
	if b.left == 0 || b.member.calls.Load() == 0 {
		b.begin(members)
	}
	if b.left == 0 {
		return nil
	}
	b.left--
	b.member.calls.Add(1)
	return b.member
}

// begin begins a burst at one of the next members, unless they are busy.
func (b *bursts) begin(members []*Member) {
	b.left = 0
	for range min(maxTurns, len(members)) {
		b.turn = (b.turn + 1) % len(members)
		if b.member = members[b.turn]; b.member.calls.Load() <= maxBusy {
			b.left = maxBurst
			return
		}
	}
}

// RecordServed records the time in which a member has served a request, as its response says. It is
// zero if the response does not say so. Such a member may have a limit of concurrent requests,
// which a burst might exceed.
func (d *Directory) RecordServed(servedIn time.Duration) {
	if servedIn == 0 {
		servedIn = 2 * servedWeight * maxBurstTime // This value alone raises the average above maxBurstTime.
	}
	// A value is lost if another goroutine stores one at the same time, which does no harm.
	if average := time.Duration(d.bursts.servedIn.Load()); average > 0 {
		servedIn = average + (servedIn-average)/servedWeight
	}
	d.bursts.servedIn.Store(int64(servedIn))
}
