package selection

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// recountInterval is the time after which one request is sent to the queue again, to learn how
	// many receivers the queue has.
	recountInterval = time.Second
	// askDelay is how long a Directory waits before it has the servers asked who they are. The second
	// question follows after twice that time, and so on.
	askDelay = 50 * time.Millisecond
	// maxAsks is the maximum number of questions while neither the number of receivers nor the members
	// change. The last question follows 25 s after the one before it.
	maxAsks = 10
)

// Directory holds the members of a queue: the dynpsrpc servers that receive the requests of the
// queue and also have a unicast channel, on which nobody else receives requests. A client that
// knows all receivers of a queue sends each request to one of them, instead of sending it to all of
// them, which would then compete for it.
//
// The receivers of the queue may include others, which would get no requests any more: psrpc
// servers, and older dynpsrpc servers. They do not announce themselves. A Directory therefore offers
// its members only while they account for all receivers that the bus has counted. Once in a while, a
// request is sent to the queue nevertheless, so that the bus counts again.
//
// All times are measured from any fixed moment. All methods are safe for concurrent use. The zero
// value has no members.
type Directory struct {
	// choices holds the available members while they account for all receivers. Otherwise, it is nil.
	// The slice is immutable.
	choices atomic.Pointer[[]*Member]
	// nextCount is the time at which the next request must be sent to the queue.
	nextCount atomic.Int64
	// settled reports whether there is nothing to do as long as receivers does not change.
	settled atomic.Bool
	// receivers is the number of receivers that the bus has counted last. It is zero if the bus has
	// not counted any.
	receivers atomic.Int64

	mu sync.Mutex
	// members holds all members, keyed by address.
	members map[string]*Member
	// connections holds the number of members by Member.receiver.
	connections map[string]int
	// available holds the members that are not suspected. Its elements are never overwritten, because
	// choices may refer to them.
	available []*Member
	// disabled reports whether the broker denies access to the unicast channels.
	disabled bool
	// asks counts the questions that have been asked since receivers or the members changed. nextAsk
	// is the time of the next one, or zero if it has not been determined yet.
	asks    int
	nextAsk time.Duration
}

// Member is a server that has a unicast channel.
type Member struct {
	// Channel is the unicast channel of the server. It is immutable.
	Channel wire.Channel

	address, receiver string
	// suspected reports whether the server may be unable to answer. Directory.mu guards it.
	suspected bool
	// calls is the number of calls of this conn that are waiting for the server.
	calls atomic.Int64
}

// Done must be called when a call to the member has ended.
func (m *Member) Done() { m.calls.Add(-1) }

// Choose returns the member to which a request is to be sent, or nil if the request must be sent to
// the queue. Of two members chosen at random, Choose returns the one that has fewer calls waiting
// for it. The caller must call [Member.Done] when the call has ended.
func (d *Directory) Choose(now time.Duration) *Member {
	choices := d.choices.Load()
	if choices == nil || d.isCountDue(now) {
		return nil
	}
	members := *choices
	first, second := twoOf(len(members))
	chosen := members[first]
	if other := members[second]; other.calls.Load() < chosen.calls.Load() {
		chosen = other
	}
	chosen.calls.Add(1)
	return chosen
}

// twoOf returns two different random indexes less than n, or zero twice if n is 1.
func twoOf(n int) (first, second int) {
	if n == 1 {
		return 0, 0
	}
	//nolint:gosec // the choice need not be unpredictable
	first, second = rand.IntN(n), rand.IntN(n-1)
	if second >= first {
		second++
	}
	return first, second
}

// isCountDue reports whether the caller must send its request to the queue, so that the bus counts
// the receivers.
func (d *Directory) isCountDue(now time.Duration) bool {
	next := d.nextCount.Load()
	return int64(now) >= next && d.nextCount.CompareAndSwap(next, int64(now+recountInterval))
}

// OnCounted records the number of receivers that the bus has reported for a request that was sent to
// the queue. If it returns true, the caller must ask all servers who receives the requests of the
// queue, because the known members do not account for that number.
func (d *Directory) OnCounted(receivers int, now time.Duration) (ask bool) {
	if receivers < 0 || int64(receivers) == d.receivers.Load() && d.settled.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if int64(receivers) != d.receivers.Load() {
		d.receivers.Store(int64(receivers))
		d.asks, d.nextAsk = 0, 0
		d.nextCount.Store(int64(now + recountInterval))
	}
	ask = d.mustAskLocked(now)
	d.publishLocked()
	return ask
}

// mustAskLocked reports whether the servers must be asked now. The first question waits for a while,
// because a receiver that joins or leaves is often counted shortly before or after it announces
// that.
func (d *Directory) mustAskLocked(now time.Duration) bool {
	switch {
	case d.accountsForAllLocked() || d.asks >= maxAsks:
		return false
	case d.nextAsk == 0:
		d.nextAsk = now + askDelay
		return false
	case now < d.nextAsk:
		return false
	}
	d.asks++
	d.nextAsk = now + askDelay<<d.asks
	return true
}

// accountsForAllLocked reports whether the members account for all receivers that have been counted.
// There may be fewer receivers than members, because members that were killed remain members until a
// request to them fails.
func (d *Directory) accountsForAllLocked() bool {
	return int(d.receivers.Load()) <= len(d.connections)
}

// publishLocked updates choices and settled.
func (d *Directory) publishLocked() {
	complete := d.accountsForAllLocked()
	d.settled.Store(complete || d.asks >= maxAsks)
	if !complete || d.disabled || len(d.available) == 0 || d.receivers.Load() == 0 {
		d.choices.Store(nil)
		return
	}
	available := d.available
	d.choices.Store(&available)
}

// Add adds a server of the given service that has announced itself. If the server is a member
// already, Add makes it available again. address and receiver are the values that the server has
// announced; see [wire.Presence].
func (d *Directory) Add(service, address, receiver string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	member := d.members[address]
	switch {
	case member == nil && len(d.members) >= maxPresent, member != nil && !member.suspected:
		return
	case member == nil:
		member = &Member{Channel: wire.UnicastChannel(service, address), address: address, receiver: receiver}
		if d.members == nil {
			d.members, d.connections = map[string]*Member{}, map[string]int{}
		}
		d.members[address] = member
		d.connections[receiver]++
	}
	member.suspected = false
	d.available = append(d.available, member)
	d.publishLocked()
}

// Remove removes the member with the given address, if there is one. It receives no more requests.
func (d *Directory) Remove(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	member := d.members[address]
	if member == nil {
		return
	}
	delete(d.members, address)
	if d.connections[member.receiver]--; d.connections[member.receiver] == 0 {
		delete(d.connections, member.receiver)
	}
	d.asks, d.nextAsk = 0, 0
	d.withdrawLocked(member)
}

// RemoveMember removes a member that does not receive the requests of the queue any more.
func (d *Directory) RemoveMember(m *Member) { d.Remove(m.address) }

// Suspect is called when a member has not answered a request in time. Until Add is called for it,
// the member is not chosen any more. Suspect returns true if the caller must ask the member whether
// it still receives requests.
func (d *Directory) Suspect(m *Member) (ask bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.suspected || d.members[m.address] != m {
		return false
	}
	m.suspected = true
	d.withdrawLocked(m)
	return true
}

// withdrawLocked removes a member from the available ones.
func (d *Directory) withdrawLocked(m *Member) {
	d.available = slices.DeleteFunc(slices.Clone(d.available), func(other *Member) bool { return other == m })
	d.publishLocked()
}

// Disable makes Choose return nil from now on, because the broker denies access to the unicast
// channels.
func (d *Directory) Disable() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disabled = true
	d.publishLocked()
}
