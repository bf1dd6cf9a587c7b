package dynamic

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// newPeers returns the peers of a server that serves channel c.
func newPeers(t *testing.T) *peers {
	t.Helper()
	p := &peers{}
	ignore := func([]byte) {}
	require.NoError(t, p.announcements.Subscribe(context.Background(), bus.NewLocal(), bus.Channel{}, bus.Broadcast, ignore))
	p.setServing("c", true)
	return p
}

// membersOf returns what the server tells conns.
func membersOf(p *peers) int {
	members, _ := p.members("c")
	return members
}

func TestPeers_Members(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t)
		assert.Zero(t, membersOf(p), "others may answer")
		assert.Equal(t, 2, p.addAnswer("c", "a", 2))
		<-time.After(peersQuietTime)
		assert.Equal(t, 2, membersOf(p))
		assert.Equal(t, 3, p.add("c", "b"))
		assert.Equal(t, 3, p.add("c", "b"))
		assert.Zero(t, p.add("other", "b"))
		assert.Equal(t, 3, membersOf(p))
		p.remove("c", "a")
		p.remove("c", "unknown")
		assert.Equal(t, 2, membersOf(p))
		p.setServing("c", true)
		assert.Equal(t, 2, membersOf(p))
		p.setServing("c", false)
		assert.Zero(t, membersOf(p))
	})
}

// A server that knows fewer servers than others have told it announces itself again, but not for ever.
func TestPeers_TooFewAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t)
		for announced := 1; announced <= maxPeerAnnouncements; announced++ {
			p.addAnswer("c", "a", 3)
			<-time.After(peersQuietTime)
			members, retry := p.members("c")
			assert.Zero(t, members)
			assert.Equal(t, announced < maxPeerAnnouncements, retry)
		}
		p.add("c", "b")
		assert.Equal(t, 3, membersOf(p))
	})
}

// In a large fleet, a part of the servers listens to each other, and none claims to know all.
func TestPeers_LargeFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const servers = 400
		var fleet []*peers
		for i := range servers {
			joining, address := newPeers(t), fmt.Sprint(i)
			for j, p := range fleet {
				if count := p.add("c", address); count > 0 {
					p.onCount(count)
					joining.onCount(joining.addAnswer("c", fmt.Sprint(j), count))
				}
			}
			fleet = append(fleet, joining)
		}
		<-time.After(peersQuietTime)
		listening := 0
		for _, p := range fleet {
			assert.Zero(t, membersOf(p))
			if !p.isDeaf() {
				listening++
			}
		}
		assert.Greater(t, listening, maxPeers/2)
		assert.Less(t, listening, 2*maxPeers)
	})
}
