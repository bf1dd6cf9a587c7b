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
	// recountInterval is how often a request is sent to the queue although all receivers of the
	// queue are members. This lets the bus count the receivers again.
	recountInterval = time.Second
	// askDelay is the delay before the first discovery request about receivers that are not
	// members, or about a suspected member. Each further delay is twice as long as the one before.
	askDelay = 50 * time.Millisecond
	// maxAsks is the maximum number of discovery requests in a row about receivers that are not
	// members, or about suspected members. The count starts again when the number of receivers
	// changes, a member leaves or a further member is suspected. All delays together are 51 s.
	maxAsks = 10
)

// Directory holds the members of a queue: the dynpsrpc servers of the queue that have a unicast
// channel, on which no other server receives requests. A client that knows all receivers of a queue
// sends each request to one member, so that the servers do not compete for it. A Directory is also
// used for affinity methods, whose requests are sent to all servers instead of a queue.
//
// psrpc servers and older dynpsrpc servers receive from the queue without being members. If all
// requests went to members, these servers would get none. A Directory therefore chooses a member
// only while the bus counts no receivers other than members. Once a second, a request still goes to
// the queue, so that the bus counts its receivers again.
//
// All times, such as the parameter now, are measured from a moment that the caller chooses. All
// methods are safe for concurrent use. The zero value has no members.
type Directory struct {
	// choices holds the members from which Choose chooses. It is nil while all requests must be
	// sent to the queue. The slice is immutable.
	choices atomic.Pointer[[]*Member]
	// nextCount is a time in nanoseconds. The first request after that time must be sent to the
	// queue or to all servers.
	nextCount atomic.Int64
	// settled is a copy of the result of isSettledLocked. It allows OnCounted to return without
	// locking mu as long as the number of receivers does not change.
	settled atomic.Bool
	// receivers is the latest number of receivers that the bus has reported. It is zero if the bus
	// has not reported any.
	receivers atomic.Int64
	// willing holds the members from which ChooseWilling chooses.
	willing willingMembers

	mu sync.Mutex
	// members holds all members, keyed by address.
	members map[string]*Member
	// servers holds the members, keyed by server ID. If a server was restarted with the same ID,
	// the map holds the latest member.
	servers map[string]*Member
	// connections contains the number of members for each connection to the bus. The keys are the
	// values of Member.receiver.
	connections map[string]int
	// available holds the members that are not suspected (see [Member]). Its elements are never
	// overwritten, because choices may refer to them.
	available []*Member
	// disabled reports whether the broker denies access to the unicast channels.
	disabled bool
	// asks is the number of discovery requests sent since the count last started again; see
	// maxAsks. nextAsk is the time of the next request, or zero if that time has not been
	// determined yet.
	asks    int
	nextAsk time.Duration

	// bursts implements Choose. It is the last field because each call modifies it: it should not
	// share a cache line with the fields that calls only read.
	bursts bursts
}

// Member is a server that has a unicast channel.
type Member struct {
	// Channel is the unicast channel of the server. It is immutable.
	Channel wire.Channel

	server, address, receiver string
	// willingUntil is the time until which the server counts as willing, in nanoseconds; see
	// [willingMembers]. It is zero if the server is not willing. It is written only with
	// Directory.mu held.
	willingUntil atomic.Int64
	// suspected reports whether the server failed to answer a request in time. It is cleared when
	// the server announces itself or claims a request. Directory.mu guards this field.
	suspected bool
	// calls is the number of this client's calls that are waiting for the server.
	calls atomic.Int64
	// servedIn is the moving average of the time in which the server serves a request of the queue,
	// in nanoseconds. It is zero if the latest call has not given that time.
	servedIn atomic.Int64
}

// Done must be called when a call to the member has ended.
func (m *Member) Done() { m.calls.Add(-1) }

// Choose returns the member to which a request is to be sent, or nil if the request must be sent to
// the queue. Members take turns, but a member that has more calls than another one is passed over,
// and requests of concurrent callers may go to the same member; see [bursts]. The caller must call
// [Member.Done] when the call has ended.
func (d *Directory) Choose(now time.Duration) *Member {
	choices := d.choices.Load()
	if choices == nil || d.isCountDue(now) {
		return nil
	}
	return d.bursts.choose(choices, now)
}

// lessLoaded returns the member with this index or, if it has fewer calls waiting for it, another
// member that is chosen at random.
func lessLoaded(members []*Member, index int) *Member {
	chosen := members[index]
	if len(members) == 1 {
		return chosen
	}
	//nolint:gosec // the choice need not be unpredictable
	other := members[(index+1+rand.IntN(len(members)-1))%len(members)]
	if other.calls.Load() < chosen.calls.Load() {
		return other
	}
	return chosen
}

// Sample returns n different members, chosen at random from those that are not suspected. If there
// are at most n of these, it returns nil, because the request can then be sent to all servers.
// counts reports whether the bus counts receivers. If it does, Sample also returns nil whenever
// Choose would return nil.
func (d *Directory) Sample(n int, now time.Duration, counts bool) []*Member {
	if counts && (d.choices.Load() == nil || d.isCountDue(now)) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disabled || len(d.available) <= n {
		return nil
	}
	sample := make([]*Member, 0, n)
	for len(sample) < n {
		//nolint:gosec // the choice need not be unpredictable
		if m := d.available[rand.IntN(len(d.available))]; !slices.Contains(sample, m) {
			sample = append(sample, m)
		}
	}
	return sample
}

// AccountsForAll reports whether the bus has counted the receivers, and all of them are members.
func (d *Directory) AccountsForAll() bool { return d.choices.Load() != nil }

// isCountDue reports whether the caller must send its request to the queue, so that the bus counts
// the receivers. It returns true to only one caller in each recountInterval.
func (d *Directory) isCountDue(now time.Duration) bool {
	next := d.nextCount.Load()
	return int64(now) >= next && d.nextCount.CompareAndSwap(next, int64(now+recountInterval))
}

// OnCounted records the number of receivers that the bus has reported for a request that was sent
// to the queue or to all servers. If it returns true, there are receivers that are not members, or
// a member is suspected. The caller must then send a discovery request to all servers.
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

// mustAskLocked reports whether a discovery request must be sent now. If so, it counts the request
// in the field asks. The first request is delayed, because the bus often counts a new receiver
// shortly before the receiver announces itself.
func (d *Directory) mustAskLocked(now time.Duration) bool {
	return !d.isSettledLocked() && d.isAskDueLocked(now)
}

// isAskDueLocked reports whether it is time for the next discovery request. If it returns true, the
// caller must send one.
func (d *Directory) isAskDueLocked(now time.Duration) bool {
	switch {
	case d.asks >= maxAsks:
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

// accountsForAllLocked reports whether all receivers that the bus has counted are members. There
// may be fewer receivers than members, because a server that was killed remains a member until a
// request to it fails.
func (d *Directory) accountsForAllLocked() bool {
	return int(d.receivers.Load()) <= len(d.connections)
}

// isSettledLocked reports whether no discovery request is needed until something changes. This is
// the case if maxAsks requests have been sent, or if all receivers are members and no member is
// suspected. A suspected member has already been asked on its own, but its response may have been
// lost.
func (d *Directory) isSettledLocked() bool {
	return d.asks >= maxAsks || d.accountsForAllLocked() && len(d.available) == len(d.members)
}

// publishLocked sets the fields choices and settled according to the other fields. If requests must
// be sent to all servers, it also clears willing. It must be called after the other fields have
// changed.
func (d *Directory) publishLocked() {
	d.settled.Store(d.isSettledLocked())
	if !d.accountsForAllLocked() || d.disabled {
		d.willing.members.Store(nil)
	}
	if !d.accountsForAllLocked() || d.disabled || len(d.available) == 0 || d.receivers.Load() == 0 {
		d.choices.Store(nil)
		return
	}
	available := d.available
	d.choices.Store(&available)
}

// Add adds a server that has announced itself. If the server is already a member, but suspected,
// Add makes it available again. If there are maxPresent members, Add ignores further servers.
// service is the wire name of the service. server, address and receiver are the values that the
// server has announced; see [wire.Presence].
func (d *Directory) Add(service, server, address, receiver string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	member := d.members[address]
	switch {
	case member == nil && len(d.members) >= maxPresent, member != nil && !member.suspected:
		return
	case member == nil:
		member = &Member{
			Channel: wire.UnicastChannel(service, address), server: server, address: address, receiver: receiver,
		}
		if d.members == nil {
			d.members, d.servers, d.connections = map[string]*Member{}, map[string]*Member{}, map[string]int{}
		}
		d.members[address], d.servers[server] = member, member
		d.connections[receiver]++
	}
	d.makeAvailableLocked(member)
}

// makeAvailableLocked adds a member to the field available. The member is then no longer suspected.
func (d *Directory) makeAvailableLocked(m *Member) {
	m.suspected = false
	d.available = append(d.available, m)
	d.publishLocked()
}

// Remove removes the member with this address, if there is one. Choose then no longer returns the
// member.
func (d *Directory) Remove(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	member := d.members[address]
	if member == nil {
		return
	}
	delete(d.members, address)
	if d.servers[member.server] == member {
		delete(d.servers, member.server)
	}
	if d.connections[member.receiver]--; d.connections[member.receiver] == 0 {
		delete(d.connections, member.receiver)
	}
	d.asks, d.nextAsk = 0, 0
	d.withdrawLocked(member)
}

// RemoveMember removes a member that no longer receives the requests of the queue.
func (d *Directory) RemoveMember(m *Member) { d.Remove(m.address) }

// Suspect is called when a member has not answered a request in time. Choose does not return the
// member again until the member announces itself (see Add) or claims a request (see OnClaims). If
// Suspect returns true, the caller must ask the member whether it still receives requests.
func (d *Directory) Suspect(m *Member) (ask bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.suspected || d.members[m.address] != m {
		return false
	}
	m.suspected = true
	d.asks, d.nextAsk = 0, 0
	d.withdrawLocked(m)
	return true
}

// withdrawLocked makes Choose and ChooseWilling stop returning a member.
func (d *Directory) withdrawLocked(m *Member) {
	d.available = slices.DeleteFunc(slices.Clone(d.available), func(other *Member) bool { return other == m })
	d.notWillingLocked(m)
	d.publishLocked()
}

// Disable makes Choose and ChooseWilling return nil from now on, because the broker denies access
// to the unicast channels.
func (d *Directory) Disable() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disabled = true
	d.publishLocked()
}
