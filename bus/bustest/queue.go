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
		counter := newDeliveryCounter()
		connections := map[string]bus.Bus{"a": a, "b": b, "c": c}
		for name, connection := range connections {
			h.subscribe(connection, channel, bus.Queue, counter.handler(name))
		}
		for i := range frames {
			h.publish(a, channel, fmt.Sprint(i))
		}
		counter.waitFor(h, frames)
		if network.UnevenQueue {
			return
		}
		for name := range connections { // how much, is a matter of who is near the broker
			assert.GreaterOrEqual(t, counter.bySubscriber()[name], frames/100, "member %s got too little to call it a share", name)
		}
	})

	t.Run("members on one connection", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		const frames = 100
		counter := newDeliveryCounter()
		for _, name := range []string{"a", "b"} {
			h.subscribe(b, channel, bus.Queue, counter.handler(name))
		}
		for i := range frames {
			h.publish(a, channel, fmt.Sprint(i))
		}
		counter.waitFor(h, frames)
		assert.Len(t, counter.bySubscriber(), 2)
	})

	t.Run("a member that leaves", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		counter := newDeliveryCounter()
		closing := h.subscribe(a, channel, bus.Queue, counter.handler("leaving"))
		h.subscribe(b, channel, bus.Queue, counter.handler("staying"))
		h.publish(a, channel, "first")
		counter.waitFor(h, 1)
		closing.Close()
		before := counter.bySubscriber()["leaving"]
		for i := range 50 {
			h.publish(a, channel, fmt.Sprint(i))
		}
		counter.waitFor(h, 51)
		assert.Equal(t, before, counter.bySubscriber()["leaving"])
	})
}

// deliveryCounter counts how often each frame came, and to whom.
type deliveryCounter struct {
	mu            sync.Mutex
	byText        map[string]int
	perSubscriber map[string]int
	changed       chan struct{}
}

func newDeliveryCounter() *deliveryCounter {
	return &deliveryCounter{byText: map[string]int{}, perSubscriber: map[string]int{}, changed: make(chan struct{}, 1)}
}

func (c *deliveryCounter) handler(name string) bus.Handler {
	return func(frame []byte) {
		c.mu.Lock()
		c.byText[text(frame)]++
		c.perSubscriber[name]++
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

func (c *deliveryCounter) bySubscriber() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.perSubscriber)
}

// waitFor returns when want different frames have come, and checks that none came twice.
func (c *deliveryCounter) waitFor(h *harness, want int) {
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
