package selection

import (
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// watchedCall is a multi call that is notified when a server announces a change.
type watchedCall struct {
	Responders

	membership *Membership
	wakeup     queue.Wakeup
}

func watch(m *Membership) *watchedCall {
	c := &watchedCall{membership: m, wakeup: queue.NewWakeup()}
	m.Watch(c.wakeup, &c.Responders)
	return c
}

// answer adds a response from each of the servers.
func (c *watchedCall) answer(servers ...string) *watchedCall {
	for _, server := range servers {
		c.Add(server, OneReceiver)
	}
	return c
}

func (c *watchedCall) isComplete() bool { return c.membership.IsComplete(bus.Unknown, &c.Responders) }

func (c *watchedCall) isLikelyComplete() bool {
	return c.membership.LikelyComplete(bus.Unknown, &c.Responders)
}

// isAwake reports whether the call has been notified since isAwake was last called.
func (c *watchedCall) isAwake() bool {
	select {
	case <-c.wakeup:
		return true
	default:
		return false
	}
}

// discoveredMembership returns a Membership that knows the servers, because a discovery and a first
// multi call have ended.
func discoveredMembership(t *testing.T, servers ...string) *Membership {
	t.Helper()
	m := &Membership{}
	assert.True(t, m.StartDiscovery(0))
	for _, server := range servers {
		m.OnPresence(server, wire.PresenceServing)
	}
	<-time.After(time.Second)
	first := watch(m).answer(servers...)
	first.isComplete()
	<-time.After(time.Second)
	assert.True(t, first.isComplete())
	return m
}

func TestPresence_FirstCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &Membership{}
		assert.True(t, m.StartDiscovery(0))
		assert.False(t, m.StartDiscovery(0))
		call := watch(m)
		m.OnPresence("a", wire.PresenceServing)
		<-time.After(quietTime / 2)
		m.OnPresence("b", wire.PresenceServing)
		call.answer("a", "b")
		<-time.After(quietTime / 2)
		synctest.Wait()
		assert.False(t, call.isLikelyComplete(), "a further server may answer")
		call.isAwake()

		<-time.After(quietTime / 2)
		synctest.Wait()
		assert.True(t, call.isAwake())
		assert.True(t, call.isLikelyComplete())
		assert.False(t, call.isComplete(), "a psrpc server may answer")

		<-time.After(quietTime)
		synctest.Wait()
		assert.True(t, call.isAwake())
		assert.True(t, call.isComplete())
		assert.True(t, watch(m).answer("a", "b").isComplete())
		assert.False(t, watch(m).answer("b").isComplete())
	})
}

func TestPresence_WithoutAnnouncements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &Membership{}
		assert.True(t, m.StartDiscovery(0))
		<-time.After(time.Hour)
		call := watch(m).answer("a")
		assert.False(t, call.isLikelyComplete())
		assert.False(t, call.isComplete())
		m.Update(bus.Unknown, &call.Responders)
		assert.True(t, watch(m).answer("a").isLikelyComplete())
		assert.False(t, watch(m).answer("a").isComplete())
	})
}

func TestPresence_StatesOfAServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		// before and during list the states that server b announces before and during the call.
		before, during []wire.PresenceState
		awaited        bool // whether the call waits for server b
	}{
		"serving":                   {nil, nil, true},
		"serving, said again":       {[]wire.PresenceState{wire.PresenceServing}, nil, true},
		"draining":                  {[]wire.PresenceState{wire.PresenceDraining}, nil, false},
		"begins to drain":           {nil, []wire.PresenceState{wire.PresenceDraining}, true},
		"left":                      {[]wire.PresenceState{wire.PresenceLeft}, nil, false},
		"leaves":                    {nil, []wire.PresenceState{wire.PresenceDraining, wire.PresenceLeft}, false},
		"killed":                    {nil, []wire.PresenceState{wire.PresenceLeft}, false},
		"restarted":                 {[]wire.PresenceState{wire.PresenceLeft, wire.PresenceServing}, nil, true},
		"restarted without leaving": {[]wire.PresenceState{wire.PresenceDraining, wire.PresenceServing}, nil, true},
		"restarts":                  {nil, []wire.PresenceState{wire.PresenceLeft, wire.PresenceServing}, false},
		"unknown state":             {[]wire.PresenceState{7}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := discoveredMembership(t, "a", "b")
				for _, state := range tt.before {
					m.OnPresence("b", state)
				}
				call := watch(m).answer("a")
				for _, state := range tt.during {
					m.OnPresence("b", state)
				}
				assert.Equal(t, !tt.awaited, call.isComplete())
				assert.Equal(t, !tt.awaited, call.isLikelyComplete())
				assert.True(t, call.answer("b").isComplete())
			})
		})
	}
}

func TestPresence_SilentServersAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a", "b")
		call := watch(m).answer("a")
		m.OnPresence("c", wire.PresenceServing) // server c joins during the call
		m.Update(bus.Unknown, &call.Responders) // the call has timed out
		assert.False(t, watch(m).answer("a").isComplete(), "c joined after the call was sent")
		assert.True(t, watch(m).answer("a", "c").isComplete())
		m.add("b", OneReceiver) // server b has responded late
		assert.False(t, watch(m).answer("a", "c").isComplete())
		assert.True(t, watch(m).answer("a", "b", "c").isComplete())
	})
}

func TestPresence_PsrpcServersAreAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a")
		m.add("psrpc", OneReceiver)
		assert.False(t, watch(m).answer("a").isComplete())
		assert.True(t, watch(m).answer("a", "psrpc").isComplete())
		call := watch(m).answer("a")
		m.Update(bus.Unknown, &call.Responders)
		assert.True(t, watch(m).answer("a").isComplete())
	})
}

// If no server responds, the discovery request may have been lost. It is repeated a few times, but
// only while a call is waiting.
func TestPresence_LostRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var repeated atomic.Int64
		m := &Membership{AskAgain: func(answered []string) {
			assert.Empty(t, answered)
			repeated.Add(1)
		}}
		assert.True(t, m.StartDiscovery(0))
		call := watch(m)
		<-time.After(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, repeated.Load())
		m.OnAnswer("a", "address", 1)
		assert.True(t, call.answer("a").isLikelyComplete())
		m.Lost()
		assert.True(t, m.StartDiscovery(0))
		m.Unwatch(call.wakeup)
		<-time.After(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, repeated.Load())
		assert.True(t, m.StartDiscovery(0))
		watch(m)
		<-time.After(24 * time.Hour)
		synctest.Wait()
		assert.EqualValues(t, 2+maxUnanswered-1, repeated.Load())
		assert.False(t, m.StartDiscovery(0))
	})
}

// If one server reports more servers than respond, the client sends it a list of those that have.
func TestPresence_MissingServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		m := &Membership{AskAgain: func(answered []string) { told = answered }}
		assert.True(t, m.StartDiscovery(0))
		m.OnAnswer("a", "address-a", 2)
		m.OnAnswer("b", "address-b", 3)
		<-time.After(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"address-b", "address-a"}, told)
	})
}

// If the announcement of a server is lost, but the server answers calls, the client sends one more
// discovery request.
func TestPresence_LostAnnouncement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a")
		asked := 0
		m.AskAgain = func(answered []string) {
			assert.Empty(t, answered)
			asked++
		}
		for range 4 {
			m.Update(bus.Unknown, &watch(m).answer("a", "b").Responders)
		}
		assert.Equal(t, 1, asked)
		assert.False(t, m.KnowsAll())
		m.OnAnswer("b", "address-b", 2)
		assert.True(t, m.KnowsAll())
		m.Update(bus.Unknown, &watch(m).answer("a", "b").Responders)
		assert.Equal(t, 1, asked)
	})
}

// A server that has answered the previous call may announce itself while the next call is running.
// The call waits for it all the same, because the server already served the channel.
func TestPresence_AnnouncementOfAMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a")
		m.Update(bus.Unknown, &watch(m).answer("a", "b").Responders)
		call := watch(m).answer("a")
		assert.False(t, call.isComplete())
		m.OnPresence("b", wire.PresenceServing)
		assert.False(t, call.isComplete())
		assert.True(t, call.answer("b").isComplete())
	})
}

// Servers that have responded to the discovery request and announce themselves again do not make
// the discovery longer.
func TestPresence_AnnouncementsOfKnownServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a", "b")
		m.Lost()
		assert.True(t, m.StartDiscovery(0))
		m.OnAnswer("a", "address", 0)
		<-time.After(quietTime / 2)
		m.OnPresence("b", wire.PresenceServing)
		<-time.After(quietTime / 2)
		m.OnPresence("a", wire.PresenceServing)
		synctest.Wait()
		assert.False(t, m.KnowsAll(), "b has announced itself just now")
		<-time.After(quietTime / 2)
		synctest.Wait()
		assert.True(t, m.KnowsAll())
	})
}

func TestPresence_LostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a", "b")
		assert.False(t, m.StartDiscovery(0))
		assert.True(t, m.StartDiscovery(1))
		assert.False(t, watch(m).answer("a", "b").isComplete(), "others may have joined")
		m.Lost() // the discovery request was not sent
		assert.True(t, m.StartDiscovery(1))
		m.OnPresence("a", wire.PresenceServing)
		m.OnPresence("c", wire.PresenceServing)
		assert.False(t, watch(m).answer("a", "c").isComplete())
		<-time.After(time.Second)
		assert.True(t, watch(m).answer("a", "c").isComplete(), "b has not answered")
	})
}

func TestPresence_LostConnectionChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a", "b")
		m.Lost()
		assert.True(t, m.StartDiscovery(0))
		m.OnPresence("a", wire.PresenceServing)
		m.OnPresence("b", wire.PresenceServing)
		<-time.After(time.Second)
		assert.False(t, watch(m).answer("a").isComplete())
		assert.True(t, watch(m).answer("a", "b").isComplete())
	})
}

func TestPresence_IsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a")
		for i := range maxPresent + 10 {
			m.OnPresence(strconv.Itoa(i), wire.PresenceServing)
		}
		assert.Len(t, m.present.servers, maxPresent)
	})
}

func TestPresence_Unwatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := discoveredMembership(t, "a")
		call := watch(m)
		m.Unwatch(call.wakeup)
		call.isAwake()
		m.OnPresence("b", wire.PresenceServing)
		assert.False(t, call.isAwake())
	})
}
