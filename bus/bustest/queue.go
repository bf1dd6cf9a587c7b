package bustest

import (
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

func testQueue(t *testing.T, network Network) {
	t.Run("one member gets each frame, every member its share", func(t *testing.T) {
		h := newHarness(t, network)
		a, b, c := h.connect(), h.connect(), h.connect()
		channel := h.channel()
		const frames = 400
		tally := newTally()
		members := map[string]bus.Bus{"a": a, "b": b, "c": c}
		for name, member := range members {
			h.subscribe(member, channel, bus.Queue, tally.member(name))
		}
		for i := range frames {
			h.publish(a, channel, fmt.Sprint(i))
		}
		tally.waitFor(h, frames)
		if network.Contends {
			return
		}
		for name := range members { // how much, is a matter of who is near the broker
			assert.GreaterOrEqual(t, tally.members()[name], frames/100, "member %s got too little to call it a share", name)
		}
	})

	t.Run("members on one connection", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		const frames = 100
		tally := newTally()
		for _, name := range []string{"a", "b"} {
			h.subscribe(b, channel, bus.Queue, tally.member(name))
		}
		for i := range frames {
			h.publish(a, channel, fmt.Sprint(i))
		}
		tally.waitFor(h, frames)
		assert.Len(t, tally.members(), 2)
	})

	t.Run("a member that leaves", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		tally := newTally()
		leaving := h.subscribe(a, channel, bus.Queue, tally.member("leaving"))
		h.subscribe(b, channel, bus.Queue, tally.member("staying"))
		h.publish(a, channel, "first")
		tally.waitFor(h, 1)
		leaving.Close()
		before := tally.members()["leaving"]
		for i := range 50 {
			h.publish(a, channel, fmt.Sprint(i))
		}
		tally.waitFor(h, 51)
		assert.Equal(t, before, tally.members()["leaving"])
	})
}

// tally counts how often each frame came, and to whom.
type tally struct {
	mu       sync.Mutex
	byText   map[string]int
	byMember map[string]int
	changed  chan struct{}
}

func newTally() *tally {
	return &tally{byText: map[string]int{}, byMember: map[string]int{}, changed: make(chan struct{}, 1)}
}

func (c *tally) member(name string) bus.Handler {
	return func(frame []byte) {
		c.mu.Lock()
		c.byText[text(frame)]++
		c.byMember[name]++
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

func (c *tally) members() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byMember)
}

// waitFor returns when want different frames have come, and checks that none came twice.
func (c *tally) waitFor(h *harness, want int) {
	h.Helper()
	for {
		c.mu.Lock()
		got := len(c.byText)
		for text, times := range c.byText {
			require.Equal(h, 1, times, "frame %q", text)
		}
		c.mu.Unlock()
		if got >= want {
			return
		}
		select {
		case <-c.changed:
		case <-h.ctx.Done():
			require.FailNow(h, "frames did not arrive", "%d of %d", got, want)
		}
	}
}
