package selection

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// respondersOf returns the servers "0", "1" and so on, which have responded to a call. Each
// argument is the number of servers that share a connection with that server.
func respondersOf(sharers ...uint32) *Responders {
	var a Responders
	for i, n := range sharers {
		a.Add(strconv.Itoa(i), WeightOf(n))
	}
	return &a
}

// Each server has a weight of 1/n if n servers share its connection. A call is complete when all
// servers have responded, because only then do their weights add up to the number of receivers.
func TestMembership_CompleteExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.SliceOfN(rapid.Uint32Range(1, 200), 1, 20).Draw(t, "servers of each receiver")
		var all []uint32
		for _, servers := range groups {
			for range servers {
				all = append(all, servers)
			}
		}
		var r Membership
		missing := rapid.IntRange(0, len(all)-1).Draw(t, "missing")
		most := append(append([]uint32{}, all[:missing]...), all[missing+1:]...)
		require.False(t, r.IsComplete(len(groups), respondersOf(most...)))
		require.False(t, r.LikelyComplete(len(groups), respondersOf(most...)))
		require.True(t, r.IsComplete(len(groups), respondersOf(all...)))
		r.Update(len(groups), respondersOf(all...))
		require.False(t, r.IsComplete(len(groups), respondersOf(most...)))
		require.True(t, r.IsComplete(len(groups), respondersOf(all...)))
	})
}

func TestMembership_CompleteOfMany(t *testing.T) {
	t.Parallel()
	const servers = 10_000
	var r Membership
	var answered Responders
	for i := range servers {
		assert.False(t, r.IsComplete(1, &answered))
		answered.Add(strconv.Itoa(i), WeightOf(servers))
	}
	assert.True(t, r.IsComplete(1, &answered))
}

func TestMembership_Unknown(t *testing.T) {
	t.Parallel()
	var r Membership
	for _, receivers := range []int{bus.Unknown, 0} {
		assert.False(t, r.IsComplete(receivers, respondersOf(1, 1)))
		assert.False(t, r.LikelyComplete(receivers, respondersOf(1, 1)))
	}
	assert.False(t, r.IsComplete(1, respondersOf()))
}

// psrpc servers do not report that several of them share a receiver. If more servers respond than
// there are receivers, the next call waits for all of them.
func TestMembership_SilentSharersAreLearned(t *testing.T) {
	t.Parallel()
	var r Membership
	assert.True(t, r.IsComplete(2, respondersOf(1, 1)), "nobody can know")
	r.Update(2, respondersOf(1, 1))
	r.add("2", WeightOf(2))
	assert.True(t, r.IsComplete(2, respondersOf(1, 1)), "half a server may have come meanwhile")
	r.add("3", WeightOf(2))
	assert.False(t, r.IsComplete(2, respondersOf(1, 1, 2)))
	assert.True(t, r.IsComplete(2, respondersOf(1, 1, 2, 2)))
	assert.True(t, r.IsComplete(3, respondersOf(1, 1, 2, 2, 1)), "another one has come")
	r.Update(1, respondersOf(1))
	assert.True(t, r.IsComplete(1, respondersOf(1)), "the others have left")
}

// When servers join or leave a connection, the weights 1/n of the other servers on it change. A
// call must still end with the last response.
func TestMembership_SharersComeAndLeave(t *testing.T) {
	t.Parallel()
	var r Membership
	r.Update(1, respondersOf(2, 2))
	assert.True(t, r.LikelyComplete(1, respondersOf(2, 2)))
	assert.False(t, r.LikelyComplete(1, respondersOf(3, 3)), "there is another one")
	assert.True(t, r.LikelyComplete(1, respondersOf(3, 3, 3)))
	assert.True(t, r.LikelyComplete(1, respondersOf(1)), "one has left")
	r.add("0", WeightOf(3)) // replaces the weight of server 0
	r.add("2", WeightOf(3))
	assert.True(t, r.IsComplete(1, respondersOf(3, 3, 3)))
}

// A server that has not responded is not awaited again until the number of receivers or the weight
// of a server changes.
func TestMembership_UsualWithoutTheSilent(t *testing.T) {
	t.Parallel()
	for _, receivers := range []int{1, bus.Unknown} {
		var r Membership
		assert.False(t, r.LikelyComplete(receivers, respondersOf(3, 3)))
		r.Update(receivers, respondersOf(3, 3))
		assert.True(t, r.LikelyComplete(receivers, respondersOf(3, 3)))
		assert.False(t, r.LikelyComplete(receivers, respondersOf(3)))
		assert.False(t, r.LikelyComplete(receivers, respondersOf(4, 4)))
		assert.False(t, r.LikelyComplete(2, respondersOf(3, 3)))
	}
}

// If a call has timed out because a receiver did not answer, later calls do not wait for that
// receiver. They wait for it again if it answers late, or if the number of receivers changes.
func TestMembership_SilentReceiver(t *testing.T) {
	t.Parallel()
	var m Membership
	m.Update(3, respondersOf(1, 1, 1))
	assert.False(t, m.IsComplete(3, respondersOf(1, 1)))
	m.Update(3, respondersOf(1, 1))
	assert.True(t, m.IsComplete(3, respondersOf(1, 1)))
	assert.False(t, m.IsComplete(3, respondersOf(1)))
	assert.False(t, m.IsComplete(4, respondersOf(1, 1)))
	assert.True(t, m.IsComplete(2, respondersOf(1, 1)))
	m.Update(3, respondersOf(1, 1))
	assert.True(t, m.IsComplete(3, respondersOf(1, 1)))
	m.add("2", OneReceiver)
	assert.False(t, m.IsComplete(3, respondersOf(1, 1)))
	assert.True(t, m.IsComplete(3, respondersOf(1, 1, 1)))
	m.Update(3, respondersOf(1, 1, 1))
	assert.False(t, m.IsComplete(3, respondersOf(1, 1)))
}

func TestMembership_FloodOfLateNames(t *testing.T) {
	t.Parallel()
	var r Membership
	for i := range 2 * MaxClaims {
		r.add(strconv.Itoa(i), OneReceiver)
	}
	assert.Equal(t, MaxClaims, r.members.Count())
	assert.Equal(t, MaxClaims*OneReceiver, r.members.total)
	r.add("0", WeightOf(2))
	assert.Equal(t, WeightOf(2), r.members.weights["0"])
}

func TestMembership_ManyRespondersAreNotRemembered(t *testing.T) {
	t.Parallel()
	var m Membership
	var answered Responders
	for i := range maxMembers + 1 {
		answered.Add(strconv.Itoa(i), OneReceiver)
	}
	m.Update(bus.Unknown, &answered)
	assert.Zero(t, m.members.Count())
}
