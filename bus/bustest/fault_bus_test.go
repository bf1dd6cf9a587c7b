package bustest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var channel = bus.Channel{Name: "Greeter|Hello|REQ", Subject: "SRV.Greeter", Key: "Hello.REQ"}

// received stores the frames that arrive on a channel.
type received struct {
	mu     sync.Mutex
	frames []string
}

func (r *received) deliver(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, string(frame))
}

// all returns the frames that have arrived so far.
func (r *received) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.frames)
}

func subscribe(t *testing.T, b bus.Bus) *received {
	t.Helper()
	r := &received{}
	_, err := b.Subscribe(t.Context(), channel, bus.Broadcast, r.deliver)
	require.NoError(t, err)
	return r
}

func publish(t *testing.T, b bus.Bus, frames ...string) {
	t.Helper()
	for _, frame := range frames {
		require.NoError(t, b.Publish(t.Context(), channel, []byte(frame), nil))
	}
}

// faultBus returns a FaultBus over an in-process bus, and the frames that arrive on its channel.
func faultBus(t *testing.T, faults bustest.Faults) (*bustest.FaultBus, *received) {
	t.Helper()
	b := bustest.NewFaultBus(bus.NewLocal(), 1, faults)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b, subscribe(t, b)
}

// TestFaultBus_FollowsTheContract checks that a FaultBus is a correct bus as long as it loses
// nothing.
func TestFaultBus_FollowsTheContract(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		faults  bustest.Faults
		maxSize int
	}{
		"no faults": {bustest.Faults{}, 1 << 20},
		// Publish cannot return an error for a frame that will be published later.
		"delays": {bustest.Faults{Delay: 50 * time.Microsecond, Jitter: 200 * time.Microsecond}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			buses := map[testing.TB]bus.Bus{}
			bustest.Run(t, bustest.Network{
				CountsReceivers: true, CountsSubscriptions: true, DetectsNoSubscribers: true, MaxFrameSize: tt.maxSize,
				Connect: func(t testing.TB) bus.Bus {
					mu.Lock()
					defer mu.Unlock()
					if buses[t] == nil {
						buses[t] = bustest.NewFaultBus(bus.NewLocal(bus.WithMaxFrameSize(1<<20)), 1, tt.faults)
					}
					return buses[t]
				},
			})
		})
	}
}

// TestFaultBus_SeedDecides checks that the same seed causes the same faults, although several
// goroutines publish at the same time. Another seed must cause different faults.
func TestFaultBus_SeedDecides(t *testing.T) {
	t.Parallel()
	const channels, frames = 4, 500
	run := func(seed uint64) (faults []string, counts bustest.FaultCounts) {
		b := bustest.NewFaultBus(bus.NewLocal(), seed, bustest.Faults{
			Loss: 0.1, Duplicate: 0.2,
			Logf: func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) },
		})
		var publishers sync.WaitGroup
		for i := range channels {
			publishers.Go(func() {
				for range frames {
					assert.NoError(t, b.Publish(t.Context(), bus.Channel{Name: fmt.Sprint(i)}, []byte("x"), nil))
				}
			})
		}
		publishers.Wait()
		require.NoError(t, b.Close())
		slices.Sort(faults) // the order of different channels is up to the scheduler
		return faults, b.Counts()
	}
	first, counts := run(7)
	assert.EqualValues(t, channels*frames, counts.Published)
	assert.InDelta(t, 0.1*channels*frames, counts.Lost, 60)
	assert.InDelta(t, 0.2*channels*frames, counts.Duplicated, 80)
	again, _ := run(7)
	assert.True(t, slices.Equal(first, again))
	other, _ := run(8)
	assert.False(t, slices.Equal(first, other))
}

// TestFaultBus_FaultsAreIndependent checks that the same frames are lost even if other kinds of
// faults occur.
func TestFaultBus_FaultsAreIndependent(t *testing.T) {
	t.Parallel()
	lost := func(faults bustest.Faults) (lines []string) {
		faults.Logf = func(format string, args ...any) {
			if line := fmt.Sprintf(format, args...); strings.Contains(line, "lost") {
				lines = append(lines, line)
			}
		}
		b, _ := faultBus(t, faults)
		for range 200 {
			publish(t, b, "x")
		}
		return lines
	}
	alone := lost(bustest.Faults{Loss: 0.1})
	require.NotEmpty(t, alone)
	assert.Equal(t, alone, lost(bustest.Faults{Loss: 0.1, Duplicate: 0.5, Reorder: 0.5, Jitter: time.Hour}))
}

func TestFaultBus_Duplicates(t *testing.T) {
	t.Parallel()
	b, arrived := faultBus(t, bustest.Faults{
		Duplicate: 1, Match: func(_ bus.Channel, frame []byte) bool { return string(frame) != "single" },
	})
	publish(t, b, "a", "single", "b")
	assert.Equal(t, []string{"a", "a", "single", "b", "b"}, arrived.all())
	b.SetFaults(bustest.Faults{})
	publish(t, b, "c")
	assert.Equal(t, []string{"a", "a", "single", "b", "b", "c"}, arrived.all())
	assert.Equal(t, bustest.FaultCounts{Published: 4, Duplicated: 2}, b.Counts())
}

// TestFaultBus_Delays checks that every frame is delayed, and that a random delay does not change
// the order.
func TestFaultBus_Delays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, arrived := faultBus(t, bustest.Faults{Delay: time.Second, Jitter: time.Second})
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
		}
		publish(t, b, want...)
		<-time.After(time.Second)
		assert.Empty(t, arrived.all())
		<-time.After(time.Second)
		synctest.Wait()
		assert.Equal(t, want, arrived.all())
		assert.Equal(t, bustest.FaultCounts{Published: 20, Delayed: 20}, b.Counts())

		// A frame without a delay waits for the delayed frames before it.
		publish(t, b, "late")
		b.SetFaults(bustest.Faults{})
		publish(t, b, "punctual")
		assert.NotContains(t, arrived.all(), "punctual")
		<-time.After(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, append(want, "late", "punctual"), arrived.all())
	})
}

// TestFaultBus_Reorders checks that frames are exchanged in pairs. The last frame, which no other
// frame follows, arrives after a while.
func TestFaultBus_Reorders(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b, arrived := faultBus(t, bustest.Faults{Reorder: 1, Delay: delay})
			publish(t, b, "1", "2", "3", "4", "5")
			<-time.After(delay)
			synctest.Wait()
			assert.Equal(t, []string{"2", "1", "4", "3"}, arrived.all())
			<-time.After(bustest.MaxReorderDelay)
			synctest.Wait()
			assert.Equal(t, []string{"2", "1", "4", "3", "5"}, arrived.all())
			assert.EqualValues(t, 2, b.Counts().Reordered)
		})
	}
}

// TestFaultBus_HandlerPublishes checks that a handler may publish on its own channel while delayed
// frames are being published.
func TestFaultBus_HandlerPublishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, arrived := faultBus(t, bustest.Faults{Delay: time.Second})
		_, err := b.Subscribe(t.Context(), channel, bus.Broadcast, func(frame []byte) {
			if string(frame) == "ping" {
				assert.NoError(t, b.Publish(t.Context(), channel, []byte("pong"), nil))
			}
		})
		require.NoError(t, err)
		publish(t, b, "ping")
		<-time.After(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"ping", "pong"}, arrived.all())
	})
}

func TestFaultBus_Cut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal()
		b := bustest.NewFaultBus(local, 1, bustest.Faults{})
		defer b.Close()
		near, far := subscribe(t, b), subscribe(t, local)
		b.SetFaults(bustest.Faults{Delay: time.Second})
		publish(t, b, "delayed")
		b.SetFaults(bustest.Faults{})
		b.Cut()
		publish(t, b, "sent")
		publish(t, local, "to be received")
		<-time.After(2 * time.Second)
		synctest.Wait()
		assert.Empty(t, near.all())
		assert.Equal(t, []string{"to be received"}, far.all())

		subscribed := make(chan error)
		go func() { // this goroutine ends when the link is restored
			_, err := b.Subscribe(t.Context(), channel, bus.Broadcast, near.deliver)
			subscribed <- err
		}()
		synctest.Wait()
		assert.Empty(t, subscribed)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Subscribe(ctx, channel, bus.Broadcast, near.deliver)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		b.Restore()
		require.NoError(t, <-subscribed)
		publish(t, b, "again")
		assert.Equal(t, []string{"again", "again"}, near.all(), "near has two subscriptions")
		assert.Equal(t, bustest.FaultCounts{Published: 3, Delayed: 1, Cuts: 1, CutOff: 3}, b.Counts())
	})
}

// TestFaultBus_PlannedCut checks that a frame can cut the link for a time, and that a cut by the
// test lasts until the test ends it.
func TestFaultBus_PlannedCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, arrived := faultBus(t, bustest.Faults{
			Cut: 1, CutDuration: time.Minute,
			Match: func(_ bus.Channel, frame []byte) bool { return string(frame) == "cut" },
		})
		publish(t, b, "1", "cut", "2")
		<-time.After(time.Minute)
		synctest.Wait()
		publish(t, b, "3")
		assert.Equal(t, []string{"1", "3"}, arrived.all())

		publish(t, b, "cut")
		b.Cut()
		<-time.After(time.Hour)
		synctest.Wait()
		publish(t, b, "4")
		b.Restore()
		publish(t, b, "5")
		assert.Equal(t, []string{"1", "3", "5"}, arrived.all())
	})
}

// report stores the outcome of a Publish.
type report struct {
	receivers int
	err       error
}

func (r *report) Delivered(receivers int, err error) { r.receivers, r.err = receivers, err }

// TestFaultBus_DelayedError checks that the delivery report of a delayed frame receives the error.
func TestFaultBus_DelayedError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bustest.NewFaultBus(bus.NewLocal(bus.WithMaxFrameSize(3)), 1, bustest.Faults{})
		defer b.Close()
		require.ErrorIs(t, b.Publish(t.Context(), channel, []byte("long"), nil), bus.ErrFrameTooLarge)
		b.SetFaults(bustest.Faults{Delay: time.Second})
		var outcome report
		require.NoError(t, b.Publish(t.Context(), channel, []byte("long"), &outcome))
		<-time.After(time.Second)
		synctest.Wait()
		require.ErrorIs(t, outcome.err, bus.ErrFrameTooLarge)
		assert.Equal(t, bus.Unknown, outcome.receivers)
	})
}

// TestFaultBus_Close checks that Close discards delayed frames and makes a Subscribe that is
// waiting for the link return.
func TestFaultBus_Close(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, arrived := faultBus(t, bustest.Faults{Delay: time.Second})
		publish(t, b, "discarded")
		b.Cut()
		failed := make(chan error)
		go func() { // this goroutine ends when the bus is closed
			_, err := b.Subscribe(context.Background(), channel, bus.Broadcast, arrived.deliver)
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-failed, bus.ErrClosed)
		require.ErrorIs(t, b.Publish(t.Context(), channel, []byte("x"), nil), bus.ErrClosed)
		<-time.After(time.Hour)
		assert.Empty(t, arrived.all())
	})
}

// brokerBus is a bus that implements the same optional interfaces as a bus with a broker.
type brokerBus struct{ bus.Bus }

func (brokerBus) CountsReceivers() bool { return false }
func (brokerBus) ReceiverID() string    { return "receiver" }
func (brokerBus) Stats() bus.Stats      { return bus.Stats{Disconnects: 3} }

func TestFaultBus_ForwardsOptionalInterfaces(t *testing.T) {
	t.Parallel()
	local := bustest.NewFaultBus(bus.NewLocal(), 1, bustest.Faults{})
	defer local.Close()
	broker := bustest.NewFaultBus(brokerBus{bus.NewLocal()}, 1, bustest.Faults{})
	defer broker.Close()
	assert.True(t, local.CountsReceivers())
	assert.False(t, broker.CountsReceivers())
	assert.Empty(t, local.ReceiverID())
	assert.Equal(t, "receiver", broker.ReceiverID())
	assert.Equal(t, bus.Stats{Connected: true}, local.Stats())
	assert.Equal(t, bus.Stats{Disconnects: 3}, broker.Stats())
}
