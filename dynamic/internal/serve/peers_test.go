package serve

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

// newPeers returns the peers of a server that serves the channel "c" and knows no other servers.
func newPeers(t *testing.T) *peers {
	t.Helper()
	p := &peers{}
	ignore := func([]byte) {}
	require.NoError(t, p.announcements.Subscribe(context.Background(), bus.NewLocal(), bus.Channel{}, bus.Broadcast, ignore))
	p.setServing("c", true)
	return p
}

// membersOf returns the number of servers that the server reports to clients.
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

// If other servers report more servers than have answered, the server announces itself again, but
// only a few times.
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

// If a channel has more than maxPeers servers, only some of them still listen to announcements, and
// only a few answer them. No server then reports the number of servers.
func TestPeers_LargeFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const servers = 400
		var fleet []*peers
		answers := 0
		for i := range servers {
			joining, address := newPeers(t), fmt.Sprint(i)
			for j, p := range fleet {
				count := p.add("c", address)
				if count > 0 && p.mustAnswer() {
					joining.onCount(joining.addAnswer("c", fmt.Sprint(j), count))
					if i >= servers/2 {
						answers++
					}
				}
				p.onCount(count)
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
		assert.Greater(t, answers, servers/2)
		assert.Less(t, answers, servers/2*3*crowdAnswers)
	})
}
