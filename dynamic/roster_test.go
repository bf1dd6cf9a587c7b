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
func attended(sharers ...uint32) *attendance {
	var a attendance
	for i, n := range sharers {
		a.add(strconv.Itoa(i), shareOf(n))
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
		var r roster
		missing := rapid.IntRange(0, len(all)-1).Draw(t, "missing")
		most := append(append([]uint32{}, all[:missing]...), all[missing+1:]...)
		require.False(t, r.complete(len(groups), attended(most...)))
		require.False(t, r.usual(len(groups), attended(most...)))
		require.True(t, r.complete(len(groups), attended(all...)))
		r.learn(len(groups), attended(all...))
		require.False(t, r.complete(len(groups), attended(most...)))
		require.True(t, r.complete(len(groups), attended(all...)))
	})
}

func TestRoster_CompleteOfMany(t *testing.T) {
	t.Parallel()
	const servers = 10_000
	var r roster
	var answered attendance
	for i := range servers {
		assert.False(t, r.complete(1, &answered))
		answered.add(strconv.Itoa(i), shareOf(servers))
	}
	assert.True(t, r.complete(1, &answered))
}

func TestRoster_Unknown(t *testing.T) {
	t.Parallel()
	var r roster
	for _, receivers := range []int{bus.Unknown, 0} {
		assert.False(t, r.complete(receivers, attended(1, 1)))
		assert.False(t, r.usual(receivers, attended(1, 1)))
	}
	assert.False(t, r.complete(1, attended()))
}

// psrpc's servers do not say that they share a receiver: what is learned of them adds to what ours say.
func TestRoster_SilentSharersAreLearned(t *testing.T) {
	t.Parallel()
	var r roster
	assert.True(t, r.complete(2, attended(1, 1)), "nobody can know")
	r.learn(2, attended(1, 1))
	r.add("2", shareOf(2))
	assert.True(t, r.complete(2, attended(1, 1)), "half a server may have come meanwhile")
	r.add("3", shareOf(2))
	assert.False(t, r.complete(2, attended(1, 1, 2)))
	assert.True(t, r.complete(2, attended(1, 1, 2, 2)))
	assert.True(t, r.complete(3, attended(1, 1, 2, 2, 1)), "another one has come")
	r.learn(1, attended(1))
	assert.True(t, r.complete(1, attended(1)), "the others have left")
}

// Servers that join or leave a connection change the shares of those that stay; calls then end as before.
func TestRoster_SharersComeAndLeave(t *testing.T) {
	t.Parallel()
	var r roster
	r.learn(1, attended(2, 2))
	assert.True(t, r.usual(1, attended(2, 2)))
	assert.False(t, r.usual(1, attended(3, 3)), "there is another one")
	assert.True(t, r.usual(1, attended(3, 3, 3)))
	assert.True(t, r.usual(1, attended(1)), "one has left")
	r.add("0", shareOf(3)) // the last word counts
	r.add("2", shareOf(3))
	assert.True(t, r.complete(1, attended(3, 3, 3)))
}

// A server that never answers is not waited for again, as long as nothing has changed.
func TestRoster_UsualWithoutTheSilent(t *testing.T) {
	t.Parallel()
	for _, receivers := range []int{1, bus.Unknown} {
		var r roster
		assert.False(t, r.usual(receivers, attended(3, 3)))
		r.learn(receivers, attended(3, 3))
		assert.True(t, r.usual(receivers, attended(3, 3)))
		assert.False(t, r.usual(receivers, attended(3)))
		assert.False(t, r.usual(receivers, attended(4, 4)))
		assert.False(t, r.usual(2, attended(3, 3)))
	}
}

func TestRoster_FloodOfLateNames(t *testing.T) {
	t.Parallel()
	var r roster
	for i := range 2 * maxClaims {
		r.add(strconv.Itoa(i), wholeShare)
	}
	assert.Equal(t, maxClaims, r.servers.count())
	assert.Equal(t, maxClaims*wholeShare, r.servers.total)
	r.add("0", shareOf(2))
	assert.Equal(t, shareOf(2), r.servers.shares["0"])
}
