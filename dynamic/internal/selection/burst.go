package selection

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxBurst is the maximum number of requests in a burst.
	maxBurst = 16
	// maxBurstWork limits the time that the requests of a burst keep a member busy, which is the
	// number of requests multiplied by the time in which the member usually serves one.
	maxBurstWork = 2 * time.Millisecond
	// maxBurstAge is the maximum time from the first request of a burst to the last one.
	maxBurstAge = time.Millisecond
	// maxBusy is the maximum number of calls that may be waiting for a member when a burst to it
	// begins.
	maxBusy = 4
	// burstPause is how long no requests are sent in bursts after a member has first rejected a
	// request of a burst. Each further rejection doubles that time, at most maxPauseDoublings
	// times.
	burstPause        = time.Minute
	maxPauseDoublings = 10
)

// bursts distributes requests among members. It sends requests of concurrent callers to the same
// member in bursts.
//
// Requests that are sent to one server at about the same time share packets, system calls and
// wake-ups of the client, the broker and the server, and so do their responses. If each request
// goes to another server, this advantage is lost: with 64 callers and 30 servers on one machine,
// Redis completes 0.5 times as many calls as with one server, but 0.88 times with bursts.
//
// A burst does harm if requests occupy a server for long, because the other servers are idle in the
// meantime. The longer members take to serve a request, the shorter are therefore the bursts. A
// burst begins at a member with few calls. It ends when it has its maximum length or age, or when
// no calls are waiting for the member.
//
// All methods are safe for concurrent use. The zero value is ready to use.
type bursts struct {
	mu sync.Mutex
	// pausedUntil is the time until which no requests are sent in bursts, and pauses is the number
	// of pauses so far.
	pausedUntil time.Duration
	pauses      int
	// choices is the value of Directory.choices to which the following fields apply.
	choices *[]*Member
	// turn is the index of the member whose turn it was most recently.
	turn int
	// member is the member that was chosen most recently, and began is the time at which its burst
	// began. left is the number of further requests that may be added to the burst.
	member *Member
	began  time.Duration
	left   int
}

// choose returns the member to which a request is to be sent, and counts one more call for that
// member. choices must contain at least one member.
func (b *bursts) choose(choices *[]*Member, now time.Duration) *Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.choices != choices {
		//nolint:gosec // the choice need not be unpredictable
		b.choices, b.turn, b.left = choices, rand.IntN(len(*choices)), 0
	}
	if b.left == 0 || now-b.began > maxBurstAge || b.member.calls.Load() == 0 {
		b.begin(*choices, now)
	}
	b.left--
	b.member.calls.Add(1)
	return b.member
}

// begin begins a burst. Its member is the next one in turn, or another one, chosen at random, if
// that one has fewer calls waiting for it.
func (b *bursts) begin(members []*Member, now time.Duration) {
	b.turn = (b.turn + 1) % len(members)
	b.member, b.began, b.left = lessLoaded(members, b.turn), now, 1
	if b.member.calls.Load() <= maxBusy && now >= b.pausedUntil {
		b.left = burstLength(members, b.member)
	}
}

// burstLength returns the maximum number of requests in a burst to a member. Three members, chosen
// at random, may make the burst shorter. If most members get no bursts, because they run an older
// version, for example, each of the few that do thus gets at most about 1.5 times its share. If
// only one of 30 members gets no bursts, it gets about 1/14 of the requests that another one gets.
func burstLength(members []*Member, member *Member) int {
	length := member.burstLimit()
	for range 3 {
		if length > 1 {
			//nolint:gosec // the choice need not be unpredictable
			length = min(length, members[rand.IntN(len(members))].burstLimit())
		}
	}
	return length
}

// burstLimit returns the maximum number of requests in a burst to the member. It is 1 if it is not
// known how long the member takes to serve a request.
func (m *Member) burstLimit() int {
	servedIn := m.servedIn.Load()
	if servedIn == 0 {
		return 1
	}
	return int(min(max(int64(maxBurstWork)/servedIn, 1), maxBurst))
}

// RecordServed records the time in which the member has served a request, as its response says.
// servedIn is zero if there was no response, or if the response does not contain that time. The
// member then gets no bursts until a later response contains it. For example, it may have a limit
// of concurrent requests, which a burst might exceed.
func (m *Member) RecordServed(servedIn time.Duration) {
	const weight = 8
	// If another goroutine stores a value at the same time, one of the two is lost. The next
	// responses make up for it.
	if average := time.Duration(m.servedIn.Load()); average > 0 && servedIn > 0 {
		servedIn = average + (servedIn-average)/weight
	}
	m.servedIn.Store(int64(servedIn))
}

// OnRejected is called when a member has rejected a request, for example because of a limit that an
// interceptor enforces. If other calls of this client are waiting for the member, a burst may have
// exceeded this limit. The current burst then ends, and no others begin for some time.
func (d *Directory) OnRejected(m *Member, now time.Duration) {
	b := &d.bursts
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.calls.Load() > 1 && now >= b.pausedUntil {
		b.pausedUntil, b.left = now+burstPause<<min(b.pauses, maxPauseDoublings), 0
		b.pauses++
	}
}
