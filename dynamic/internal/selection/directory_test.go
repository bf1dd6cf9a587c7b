package selection

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// directoryOf returns a Directory whose members are the servers "0", "1" and so on. Each server has
// its own connection.
func directoryOf(servers int) *Directory {
	d := &Directory{}
	for i := range servers {
		d.Add("S", fmt.Sprint("SRV_", i), fmt.Sprint(i), fmt.Sprint("bus", i))
	}
	return d
}

// A Directory chooses a member only while all receivers that the bus has counted are members.
func TestDirectory_OnlyIfAllReceiversAreMembers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, connections := &Directory{}, map[string]bool{}
		servers := rapid.IntRange(0, 20).Draw(t, "servers")
		for i := range servers {
			receiver := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "bus"))
			connections[receiver] = true
			d.Add("S", fmt.Sprint("SRV_", i), fmt.Sprint(i), receiver)
		}
		assert.Nil(t, d.Choose(0), "nothing has been counted")
		receivers := rapid.IntRange(0, 7).Draw(t, "receivers")
		d.OnCounted(receivers, 0)
		if receivers == 0 || receivers > len(connections) {
			require.Nil(t, d.Choose(1))
			return
		}
		require.NotNil(t, d.Choose(1))
		for i := range servers {
			d.Remove(fmt.Sprint(i))
		}
		require.Nil(t, d.Choose(1))
		require.Empty(t, d.connections)
	})
}

// Once a second, a request must go to the queue, so that the bus counts the receivers again.
func TestDirectory_CountsAgain(t *testing.T) {
	t.Parallel()
	d := directoryOf(2)
	d.OnCounted(2, time.Hour)
	for now := time.Hour; now < time.Hour+5*time.Second; now += time.Second {
		if now > time.Hour {
			require.Nil(t, d.Choose(now))
		}
		for early := time.Duration(0); early < time.Second; early += time.Second / 10 {
			require.NotNil(t, d.Choose(now+early))
		}
	}
}

// Of two members, Choose must return the one with fewer running calls. The calls are thus
// distributed evenly.
func TestDirectory_ChoosesTheLessLoaded(t *testing.T) {
	t.Parallel()
	d := directoryOf(2)
	d.OnCounted(2, 0)
	first := d.Choose(1)
	for range 10 {
		other := d.Choose(1)
		assert.NotSame(t, first, other)
		other.Done()
	}
	d = directoryOf(30)
	d.OnCounted(30, 0)
	for range 300 {
		d.Choose(1)
	}
	for _, m := range d.members {
		assert.InDelta(t, 10, m.calls.Load(), 4)
	}
}

// If the queue has receivers that are not members, the Directory must request discovery at growing
// intervals, but not forever.
func TestDirectory_Asks(t *testing.T) {
	t.Parallel()
	d := directoryOf(1)
	ask := func(receivers int, until time.Duration) (asked []time.Duration) {
		for now := time.Duration(0); now < until; now += 10 * time.Millisecond {
			if d.OnCounted(receivers, now) {
				asked = append(asked, now)
			}
		}
		return asked
	}
	assert.Empty(t, ask(1, time.Minute))
	asked := ask(2, 5*time.Minute)
	require.Len(t, asked, maxAsks)
	for i := range asked[1:] {
		assert.Equal(t, askDelay<<(i+1), asked[i+1]-asked[i])
	}
	assert.Empty(t, ask(2, time.Minute))
	assert.Len(t, ask(3, 2*time.Minute), maxAsks, "the number has changed")
	d.Remove("0")
	assert.Len(t, ask(3, 2*time.Minute), maxAsks, "a member has left")
	d.Add("S", "SRV_0", "0", "bus0")
	d.Add("S", "SRV_1", "1", "bus1")
	d.Add("S", "SRV_2", "2", "bus2")
	assert.Empty(t, ask(3, time.Minute))
	d.Choose(time.Hour) // this request goes to the queue, so that the receivers are counted
	assert.NotNil(t, d.Choose(time.Hour))
}

// A suspected member must not be chosen until it announces itself again. It still counts as a known
// receiver, so the other members can be chosen.
func TestDirectory_Suspect(t *testing.T) {
	t.Parallel()
	d := directoryOf(2)
	d.OnCounted(2, 0)
	suspected := d.Choose(1)
	assert.True(t, d.Suspect(suspected))
	assert.False(t, d.Suspect(suspected))
	for range 10 {
		assert.NotSame(t, suspected, d.Choose(1))
	}
	assert.False(t, d.OnCounted(2, 0))
	assert.True(t, d.OnCounted(2, time.Second), "its answer may be lost")
	d.Add("S", suspected.server, suspected.address, suspected.receiver)
	assert.False(t, d.OnCounted(2, time.Minute))
	assert.Same(t, suspected, d.Choose(1))
	assert.Len(t, d.available, 2)

	assert.True(t, d.Suspect(suspected))
	d.RemoveMember(suspected)
	assert.Nil(t, d.Choose(1), "it has left without another receiver counted")
	d.OnCounted(1, 1)
	assert.NotNil(t, d.Choose(1))
	assert.False(t, d.Suspect(suspected))
}

func TestDirectory_Disable(t *testing.T) {
	t.Parallel()
	d := directoryOf(1)
	d.OnCounted(1, 0)
	d.Disable()
	assert.Nil(t, d.Choose(1))
	d.OnCounted(2, 0)
	d.Add("S", "SRV_1", "1", "bus1")
	assert.Nil(t, d.Choose(1))
}

func TestDirectory_Concurrent(t *testing.T) {
	t.Parallel()
	d := directoryOf(4)
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for n := range 500 {
				d.OnCounted(4, time.Duration(n))
				if m := d.Choose(time.Duration(n)); m != nil {
					if n%50 == 0 {
						d.Suspect(m)
					}
					m.Done()
				}
				d.Remove(fmt.Sprint(i))
				d.Add("S", fmt.Sprint("SRV_", i), fmt.Sprint(i), fmt.Sprint("bus", i))
			}
		})
	}
	running.Wait()
	for _, m := range d.members {
		assert.Zero(t, m.calls.Load())
	}
}
