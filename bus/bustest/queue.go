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
	t.Run("each frame is delivered once, and every subscriber receives some", func(t *testing.T) {
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
		// Each subscriber must receive at least a few frames. A fast connection gets more of them.
		for name := range connections {
			assert.GreaterOrEqual(t, counter.bySubscriber()[name], frames/100, "subscriber %s received too few frames", name)
		}
	})

	t.Run("subscribers on one connection", func(t *testing.T) {
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

	t.Run("a subscriber that closes", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		channel := h.channel()
		counter := newDeliveryCounter()
		closing := h.subscribe(a, channel, bus.Queue, counter.handler("closing"))
		h.subscribe(b, channel, bus.Queue, counter.handler("remaining"))
		h.publish(a, channel, "first")
		counter.waitFor(h, 1)
		closing.Close()
		before := counter.bySubscriber()["closing"]
		for i := range 50 {
			h.publish(a, channel, fmt.Sprint(i))
		}
		counter.waitFor(h, 51)
		assert.Equal(t, before, counter.bySubscriber()["closing"])
	})
}

// deliveryCounter counts deliveries per frame and per subscriber.
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

// waitFor waits until want distinct frames have been delivered. It fails the test if any frame was
// delivered more than once.
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
