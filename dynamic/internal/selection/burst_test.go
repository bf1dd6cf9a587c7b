package selection

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fastDirectory returns a Directory with members that serve each request in 100 µs.
func fastDirectory(servers int) *Directory {
	d := directoryOf(servers)
	d.OnCounted(servers, 0)
	for _, m := range d.members {
		m.RecordServed(100 * time.Microsecond)
	}
	return d
}

// chooseAll starts the given number of calls, which all wait for their members. It returns the
// numbers of successive calls that go to the same member.
func chooseAll(d *Directory, calls int, now time.Duration) (runs []int) {
	var previous *Member
	for range calls {
		m := d.Choose(now)
		if m != previous {
			runs = append(runs, 0)
		}
		runs[len(runs)-1]++
		previous = m
	}
	return runs
}

// Concurrent requests to fast members go to them in bursts, in turn.
func TestBursts_Concurrent(t *testing.T) {
	t.Parallel()
	d := fastDirectory(10)
	assert.Equal(t, []int{maxBurst, maxBurst, maxBurst, maxBurst}, chooseAll(d, 4*maxBurst, 1))
	chooseAll(d, 6*maxBurst, 1)
	for _, m := range d.members {
		assert.EqualValues(t, maxBurst, m.calls.Load())
	}
}

// A burst begins only at a member with few calls.
func TestBursts_BusyMembers(t *testing.T) {
	t.Parallel()
	for calls, want := range map[int64]int{maxBusy: maxBurst, maxBusy + 1: 1} {
		d := fastDirectory(10)
		for _, m := range d.members {
			m.calls.Store(calls)
		}
		assert.Equal(t, want, chooseAll(d, 5*maxBurst, 1)[0], "%d calls", calls)
	}
}

// A single caller has no concurrent requests, so its calls are distributed one at a time.
func TestBursts_SingleCaller(t *testing.T) {
	t.Parallel()
	d := fastDirectory(10)
	calls := map[*Member]int{}
	for range 1000 {
		m := d.Choose(1)
		calls[m]++
		m.Done()
	}
	for _, m := range d.members {
		assert.Equal(t, 100, calls[m])
	}
}

// A member that does not answer a call gets no other requests once the burst is 1 ms old.
func TestBursts_MemberHangs(t *testing.T) {
	t.Parallel()
	d := fastDirectory(10)
	hanging := d.Choose(0)
	calls := 0
	for now := time.Duration(0); now < 100*time.Millisecond; now += 300 * time.Microsecond {
		m := d.Choose(now)
		if m == hanging {
			calls++
		}
		m.Done()
	}
	assert.Equal(t, 4, calls)
}

// The longer a member takes to serve a request, the shorter are the bursts.
func TestBursts_Length(t *testing.T) {
	t.Parallel()
	for servedIn, want := range map[time.Duration]int{
		0: 1, time.Microsecond: maxBurst, 100 * time.Microsecond: maxBurst, 200 * time.Microsecond: 10,
		time.Millisecond: 2, 3 * time.Millisecond: 1, time.Hour: 1,
	} {
		d := directoryOf(10)
		d.OnCounted(10, 0)
		for _, m := range d.members {
			m.RecordServed(servedIn)
		}
		assert.Equal(t, want, chooseAll(d, 5*maxBurst, 1)[0], servedIn)
	}
	m := &Member{}
	m.RecordServed(100 * time.Microsecond)
	m.RecordServed(4100 * time.Microsecond)
	assert.EqualValues(t, 600*time.Microsecond, m.servedIn.Load(), "a moving average")
	m.RecordServed(0)
	assert.Equal(t, 1, m.burstLimit())
}

// If some of the members get no bursts, the others must not get much more than their share, and all
// members get some requests. 64 callers each wait for their calls.
func TestBursts_SharesOfDifferentMembers(t *testing.T) {
	t.Parallel()
	for _, without := range []int{1, 5, 15, 25, 29} { // the number of members without bursts
		d := directoryOf(30)
		d.OnCounted(30, 0)
		for _, m := range d.available[without:] {
			m.RecordServed(10 * time.Microsecond)
		}
		var waiting []*Member
		shares := map[*Member]int{}
		for range 30 * 1000 {
			m := d.Choose(1)
			shares[m]++
			if waiting = append(waiting, m); len(waiting) == 64 {
				waiting[0].Done()
				waiting = waiting[1:]
			}
		}
		for i, m := range d.available {
			assert.Less(t, shares[m], 2200, "%d of 30 get no bursts: member %d", without, i)
			assert.Greater(t, shares[m], 30, "%d of 30 get no bursts: member %d", without, i)
		}
	}
}

// After a member has rejected a request of a burst, there are no bursts for a minute, and after each
// further rejection for twice as long as before.
func TestBursts_Rejected(t *testing.T) {
	t.Parallel()
	d := fastDirectory(10)
	longest := func(now time.Duration) int {
		d.nextCount.Store(int64(now + time.Second))
		for _, m := range d.members {
			m.calls.Store(0)
		}
		return slices.Max(chooseAll(d, 40, now))
	}
	now := time.Hour
	for _, pause := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		assert.Equal(t, maxBurst, longest(now))
		d.OnRejected(d.bursts.member, now)
		d.OnRejected(d.bursts.member, now) // another request of the same burst
		assert.Less(t, longest(now), maxBurst/2, "the burst ends at once")
		assert.Less(t, longest(now+pause-1), maxBurst/2)
		now += pause
	}
	alone := &Member{}
	alone.calls.Store(1)
	d.OnRejected(alone, now)
	assert.Equal(t, maxBurst, longest(now), "a rejected call without other calls is not part of a burst")
	for range 20 {
		now += 2 * burstPause << maxPauseDoublings
		longest(now)
		d.OnRejected(d.bursts.member, now)
		assert.LessOrEqual(t, d.bursts.pausedUntil, now+burstPause<<maxPauseDoublings)
	}
}

// A member that has left gets no more requests of a burst.
func TestBursts_MemberLeaves(t *testing.T) {
	t.Parallel()
	for range 10 {
		d := fastDirectory(10)
		left := d.Choose(1)
		require.Same(t, left, d.Choose(1))
		d.RemoveMember(left)
		d.OnCounted(9, 0)
		for range 100 {
			require.NotSame(t, left, d.Choose(1))
		}
	}
}

// Calls of several goroutines are counted correctly, and all members get some.
func TestBursts_CallersInParallel(t *testing.T) {
	t.Parallel()
	d := fastDirectory(10)
	var shares sync.Map
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 500 {
				m := d.Choose(1)
				shares.Store(m, true)
				m.RecordServed(100 * time.Microsecond)
				m.Done()
			}
		})
	}
	running.Wait()
	for _, m := range d.members {
		assert.Zero(t, m.calls.Load())
		_, got := shares.Load(m)
		assert.True(t, got)
	}
}
