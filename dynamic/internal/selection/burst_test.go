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
	d.RecordServed(100 * time.Microsecond)
	return d
}

// chooseAll starts the given number of calls that wait for their members. It returns the numbers of
// successive calls that go to the same member.
func chooseAll(t *testing.T, d *Directory, calls int) (runs []int) {
	t.Helper()
	var previous *Member
	for range calls {
		m := d.Choose(1)
		require.NotNil(t, m)
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
	assert.Equal(t, []int{maxBurst, maxBurst, maxBurst, maxBurst}, chooseAll(t, d, 4*maxBurst))
	chooseAll(t, d, 6*maxBurst)
	for _, m := range d.members {
		assert.EqualValues(t, maxBurst, m.calls.Load())
	}
	assert.Less(t, slices.Max(chooseAll(t, d, 10*maxBurst)), maxBurst/2, "no burst begins at a member that is busy")
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

// Requests are not sent in bursts if the members are slow or do not tell how fast they are, or if
// there is only one.
func TestBursts_NotAlways(t *testing.T) {
	t.Parallel()
	for name, served := range map[string][]time.Duration{
		"nothing known": {},
		"unknown":       {0},
		"slow":          {time.Second},
		"became slow":   {time.Microsecond, 10 * time.Millisecond},
		"tells no more": {time.Microsecond, 0},
		"some tell":     {time.Microsecond, 0, time.Microsecond, 0, time.Microsecond},
	} {
		d := directoryOf(30)
		d.OnCounted(30, 0)
		for _, servedIn := range served {
			d.RecordServed(servedIn)
		}
		chooseAll(t, d, 300)
		for _, m := range d.members {
			assert.Less(t, m.calls.Load(), int64(maxBurst), name)
		}
	}
	d := fastDirectory(1)
	require.NotNil(t, d.Choose(1))
	assert.Nil(t, d.bursts.member)
}

// One slow request among many fast ones does not end the bursts for long.
func TestBursts_MovingAverage(t *testing.T) {
	t.Parallel()
	d := fastDirectory(2)
	areSent := func() bool { return d.bursts.choose(d.choices.Load()) != nil }
	require.True(t, areSent())
	d.RecordServed(10 * time.Millisecond)
	require.False(t, areSent())
	fast := 0
	for ; !areSent(); fast++ {
		d.RecordServed(100 * time.Microsecond)
	}
	assert.LessOrEqual(t, fast, 10)
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

func TestBursts_CallersInParallel(t *testing.T) {
	t.Parallel()
	d := fastDirectory(10)
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 500 {
				m := d.Choose(1)
				d.RecordServed(100 * time.Microsecond)
				m.Done()
			}
		})
	}
	running.Wait()
	for _, m := range d.members {
		assert.Zero(t, m.calls.Load())
	}
}
