package bustest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// RunInspection runs only the tests of [Run] for the optional interfaces [bus.Inspector] and
// [bus.Informed].
func RunInspection(t *testing.T, network Network) {
	t.Helper()
	testInspection(t, network)
}

// testInspection tests the optional interfaces [bus.Inspector] and [bus.Informed]. It skips the
// tests of interfaces that the bus does not implement.
func testInspection(t *testing.T, network Network) {
	t.Run("subscriptions are counted", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		inspector := h.inspector(a)
		unused, single, double, queue := h.channel(), h.channel(), h.channel(), h.channel()
		h.subscribeInbox(b, single, bus.Broadcast, 8)
		h.subscribeInbox(a, double, bus.Broadcast, 8)
		_, closing := h.subscribeInbox(b, double, bus.Broadcast, 8)
		in, _ := h.subscribeInbox(b, queue, bus.Queue, 8)
		channels := []bus.Channel{double, unused, queue, double, single}
		h.requireCounts(inspector, channels, []int{2, 0, 1, 2, 1})
		closing.Close()
		// The broker may still count the closed subscription for a short time after Close has
		// returned.
		h.waitForCounts(inspector, channels, []int{1, 0, 1, 1, 1})
		h.requireNoMore(a, queue, in)
		counts, err := inspector.Count(h.ctx)
		require.NoError(t, err)
		assert.Empty(t, counts)
	})

	t.Run("channels are found", func(t *testing.T) {
		h := newHarness(t, network)
		a, b := h.connect(), h.connect()
		inspector := h.inspector(a)
		service := fmt.Sprintf("Inspected%d", channelCount.Add(1))
		topic := []string{"eu-west.1"}
		requests := bus.Channel(wire.RequestChannel(service, "Do", topic, true))
		in, _ := h.subscribeInbox(b, requests, bus.Queue, 8)
		responses, _ := h.subscribeInbox(b, bus.Channel(wire.ResponseChannel(service, "CLI_a")), bus.Broadcast, 8)
		cancellations, _ := h.subscribeInbox(b, bus.Channel(wire.CancelChannel(service)), bus.Broadcast, 8)
		found := map[string]bus.Presence{}
		for presence, err := range inspector.Scan(h.ctx) {
			h.skipUnimplemented(err)
			require.NoError(t, err)
			if presence.Service == service && presence.Carries != bus.CarriesPrivate {
				found[presence.Carries] = presence
			}
		}
		require.Len(t, found, 3, "%v", found)
		for _, presence := range found {
			assert.Equal(t, 1, presence.Receivers, presence)
		}
		assert.Equal(t, topic, found[bus.CarriesRequests].Topic)
		assert.Contains(t, []string{"", "Do"}, found[bus.CarriesRequests].Method)
		assert.Equal(t, "CLI_a", found[bus.CarriesResponses].ClientID)
		assert.Empty(t, found[bus.CarriesCancellations].Topic)
		prefixes, err := inspector.Prefixes(h.ctx)
		require.NoError(t, err)
		prefix := ""
		if informed, ok := a.(bus.Informed); ok {
			prefix = informed.Settings().Prefix
		}
		assert.Contains(t, prefixes, prefix)
		// The methods of Inspector must deliver no frames to subscribers.
		for _, inbox := range []*inbox{in, responses, cancellations} {
			assert.Empty(t, inbox.texts)
		}
		for range inspector.Scan(h.ctx) {
			break // a caller may stop early
		}
	})

	t.Run("facts about the broker", func(t *testing.T) {
		h := newHarness(t, network)
		b := h.connect()
		informed, ok := b.(bus.Informed)
		if !ok {
			t.Skip("the bus is not a bus.Informed")
		}
		_, err := informed.RoundTrip(h.ctx)
		require.NoError(t, err)
		info, err := informed.Info(h.ctx)
		require.NoError(t, err)
		assert.NotEmpty(t, info.Kind)
		assert.Equal(t, informed.Settings(), info.Settings)
		if network.MaxFrameSize > 0 {
			assert.Equal(t, int64(network.MaxFrameSize), info.MaxFrameSize)
		}
	})

	t.Run("a closed bus", func(t *testing.T) {
		h := newHarness(t, network)
		b := h.connect()
		inspector := h.inspector(b)
		require.NoError(t, b.Close())
		_, err := inspector.Count(h.ctx, h.channel())
		require.ErrorIs(t, err, bus.ErrClosed)
		_, err = inspector.Peers(h.ctx)
		require.ErrorIs(t, err, bus.ErrClosed)
		_, err = inspector.Prefixes(h.ctx)
		require.ErrorIs(t, err, bus.ErrClosed)
		for _, err = range inspector.Scan(h.ctx) {
			require.ErrorIs(t, err, bus.ErrClosed)
		}
		if informed, ok := b.(bus.Informed); ok {
			_, err = informed.Info(h.ctx)
			require.ErrorIs(t, err, bus.ErrClosed)
			_, err = informed.RoundTrip(h.ctx)
			require.ErrorIs(t, err, bus.ErrClosed)
		}
	})
}

// inspector returns b as an Inspector. It skips the test if b does not implement Inspector.
func (h *harness) inspector(b bus.Bus) bus.Inspector {
	h.Helper()
	inspector, ok := b.(bus.Inspector)
	if !ok {
		h.Skip("the bus is not a bus.Inspector")
	}
	return inspector
}

// skipUnimplemented skips the test if err says that the bus cannot list the broker's channels.
func (h *harness) skipUnimplemented(err error) {
	h.Helper()
	if coded, ok := errors.AsType[errors.Error](err); ok && coded.Code() == errors.Unimplemented {
		h.Skip(err)
	}
}

// requireCounts checks the result of Count.
func (h *harness) requireCounts(inspector bus.Inspector, channels []bus.Channel, want []int) {
	h.Helper()
	counts, err := inspector.Count(h.ctx, channels...)
	require.NoError(h, err)
	require.Equal(h, h.countable(want), h.countable(counts))
}

// waitForCounts waits until Count returns the wanted result.
func (h *harness) waitForCounts(inspector bus.Inspector, channels []bus.Channel, want []int) {
	h.Helper()
	const interval = 10 * time.Millisecond
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		counts, err := inspector.Count(h.ctx, channels...)
		require.NoError(h, err)
		if assert.ObjectsAreEqual(h.countable(want), h.countable(counts)) {
			return
		}
		<-ticker.C
	}
}

// countable prepares counts for comparison. If the bus does not count subscriptions, all positive
// numbers become 1, because such a bus distinguishes only zero from other numbers.
func (h *harness) countable(counts []int) []int {
	if h.network.CountsSubscriptions {
		return counts
	}
	limited := make([]int, len(counts))
	for i, count := range counts {
		limited[i] = min(count, 1)
	}
	return limited
}
