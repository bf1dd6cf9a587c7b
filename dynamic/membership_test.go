package dynamic

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// attended returns the attendance of servers "0", "1" and so on, each given by how many share its receiver.
func attended(sharers ...uint32) *responders {
	var a responders
	for i, n := range sharers {
		a.add(strconv.Itoa(i), weightOf(n))
	}
	return &a
}

// The shares of all servers make up their receivers, those of all but one never do.
func TestRoster_CompleteExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.SliceOfN(rapid.Uint32Range(1, 200), 1, 20).Draw(t, "servers of each receiver")
		var all []uint32
		for _, servers := range groups {
			for range servers {
				all = append(all, servers)
			}
		}
		var r membership
		missing := rapid.IntRange(0, len(all)-1).Draw(t, "missing")
		most := append(append([]uint32{}, all[:missing]...), all[missing+1:]...)
		require.False(t, r.isComplete(len(groups), attended(most...)))
		require.False(t, r.likelyComplete(len(groups), attended(most...)))
		require.True(t, r.isComplete(len(groups), attended(all...)))
		r.update(len(groups), attended(all...))
		require.False(t, r.isComplete(len(groups), attended(most...)))
		require.True(t, r.isComplete(len(groups), attended(all...)))
	})
}

func TestRoster_CompleteOfMany(t *testing.T) {
	t.Parallel()
	const servers = 10_000
	var r membership
	var answered responders
	for i := range servers {
		assert.False(t, r.isComplete(1, &answered))
		answered.add(strconv.Itoa(i), weightOf(servers))
	}
	assert.True(t, r.isComplete(1, &answered))
}

func TestRoster_Unknown(t *testing.T) {
	t.Parallel()
	var r membership
	for _, receivers := range []int{bus.Unknown, 0} {
		assert.False(t, r.isComplete(receivers, attended(1, 1)))
		assert.False(t, r.likelyComplete(receivers, attended(1, 1)))
	}
	assert.False(t, r.isComplete(1, attended()))
}

// psrpc's servers do not say that they share a receiver: what is learned of them adds to what ours say.
func TestRoster_SilentSharersAreLearned(t *testing.T) {
	t.Parallel()
	var r membership
	assert.True(t, r.isComplete(2, attended(1, 1)), "nobody can know")
	r.update(2, attended(1, 1))
	r.add("2", weightOf(2))
	assert.True(t, r.isComplete(2, attended(1, 1)), "half a server may have come meanwhile")
	r.add("3", weightOf(2))
	assert.False(t, r.isComplete(2, attended(1, 1, 2)))
	assert.True(t, r.isComplete(2, attended(1, 1, 2, 2)))
	assert.True(t, r.isComplete(3, attended(1, 1, 2, 2, 1)), "another one has come")
	r.update(1, attended(1))
	assert.True(t, r.isComplete(1, attended(1)), "the others have left")
}

// Servers that join or leave a connection change the shares of those that stay; calls then end as before.
func TestRoster_SharersComeAndLeave(t *testing.T) {
	t.Parallel()
	var r membership
	r.update(1, attended(2, 2))
	assert.True(t, r.likelyComplete(1, attended(2, 2)))
	assert.False(t, r.likelyComplete(1, attended(3, 3)), "there is another one")
	assert.True(t, r.likelyComplete(1, attended(3, 3, 3)))
	assert.True(t, r.likelyComplete(1, attended(1)), "one has left")
	r.add("0", weightOf(3)) // the last word counts
	r.add("2", weightOf(3))
	assert.True(t, r.isComplete(1, attended(3, 3, 3)))
}

// A server that never answers is not waited for again, as long as nothing has changed.
func TestRoster_UsualWithoutTheSilent(t *testing.T) {
	t.Parallel()
	for _, receivers := range []int{1, bus.Unknown} {
		var r membership
		assert.False(t, r.likelyComplete(receivers, attended(3, 3)))
		r.update(receivers, attended(3, 3))
		assert.True(t, r.likelyComplete(receivers, attended(3, 3)))
		assert.False(t, r.likelyComplete(receivers, attended(3)))
		assert.False(t, r.likelyComplete(receivers, attended(4, 4)))
		assert.False(t, r.likelyComplete(2, attended(3, 3)))
	}
}

func TestRoster_FloodOfLateNames(t *testing.T) {
	t.Parallel()
	var r membership
	for i := range 2 * maxClaims {
		r.add(strconv.Itoa(i), oneReceiver)
	}
	assert.Equal(t, maxClaims, r.members.count())
	assert.Equal(t, maxClaims*oneReceiver, r.members.total)
	r.add("0", weightOf(2))
	assert.Equal(t, weightOf(2), r.members.weights["0"])
}
