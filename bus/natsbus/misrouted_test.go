package natsbus_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Frames of two methods are sent to one queue group. Some of its members serve only the first
// method, and the others only the second one. Each frame must arrive exactly once.
func TestBus_Mixes(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	for _, mix := range []struct{ first, second int }{{1, 1}, {1, 20}, {1, 50}, {20, 1}, {5, 5}} {
		t.Run(fmt.Sprint(mix.first, "+", mix.second), func(t *testing.T) {
			const frames = 1000
			received, lost := make(chan string, 4*frames), newReports()
			join := func(members int, channel bus.Channel) {
				for range members {
					_, err := newBus(t, url).Subscribe(t.Context(), channel, bus.Queue, func(frame []byte) {
						received <- channel.Key + string(frame)
					})
					require.NoError(t, err)
				}
			}
			join(mix.first, requests)
			join(mix.second, others)
			sender := newBus(t, url)
			started := time.Now()
			for i := range frames {
				require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, fmt.Sprint(i), ""), lost))
				// This frame has no report, like the updates of a subscription method.
				publish(t, sender, others, envelope(t, fmt.Sprint(i), ""))
			}
			seen := map[string]int{}
			for len(seen) < 2*frames && len(lost) == 0 {
				seen[soon(t, received, "frame")]++
			}
			t.Log(time.Since(started))
			assert.Empty(t, lost)
			assert.Zero(t, 2*frames-len(seen), "lost frames")
		})
	}
}

// stranger starts a member of the queue group that behaves like a psrpc process. It knows no
// private subjects, serves one routing key and drops all other frames. The returned channel
// receives the frames that it serves.
func stranger(t *testing.T, url string, channel bus.Channel) <-chan []byte {
	t.Helper()
	frames, nc := make(chan []byte, 1<<16), connect(t, url)
	_, err := nc.QueueSubscribe(channel.Subject, "bus", func(m *nats.Msg) {
		if key, err := wire.RoutingKey(m.Data); err == nil && string(key) == channel.Key {
			frames <- m.Data
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return frames
}

// If only a psrpc process serves a method, misrouted frames must return to the queue group until
// they reach that process. This must also work if hundreds of frames arrive at once.
func TestBus_StrangerServesTheMethod(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	served := stranger(t, url, requests)
	for range 2 {
		listen(t, newBus(t, url, allReports), others, bus.Queue)
	}
	sender := newBus(t, url, allReports)
	const frames = 500
	lost, padding := newReports(), strings.Repeat("x", 10<<10)
	for i := range frames {
		require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, fmt.Sprint(i)+padding[:i%2*len(padding)], ""), lost))
	}
	require.Eventually(t, func() bool { return len(served)+len(lost) == frames }, testTimeout, testTimeout/1000)
	// Each frame may be lost with a probability of 0.1 %.
	assert.Less(t, len(lost), 10)
	for len(lost) > 0 {
		report := <-lost
		assert.Zero(t, report.receivers)
		if report.err != nil {
			require.ErrorIs(t, report.err, bus.ErrMisrouted)
		}
	}
}

// lines receives the lines of a log.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// If the server denies private subjects, misrouted frames must return to the queue group instead,
// and the bus must log exactly one warning.
func TestBus_PrivateSubjectsDenied(t *testing.T) {
	t.Parallel()
	for name, permissions := range map[string]server.Permissions{
		"subscribe": {Subscribe: &server.SubjectPermission{Deny: []string{"DYN.>"}}},
		"publish":   {Publish: &server.SubjectPermission{Deny: []string{"DYN.>"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newRestrictedServer(t, permissions)
			log := make(lines, 100)
			events, handler := newEvents()
			logger := natsbus.WithLogger(slog.New(slog.NewTextHandler(log, nil)))
			b := newBus(t, url, handler, logger)
			frames, _ := listen(t, newBus(t, url), requests, bus.Queue)
			listen(t, b, others, bus.Queue)
			sender := newBus(t, url)
			const sent = 20
			for range sent {
				publish(t, sender, requests, envelope(t, "x", ""))
			}
			for range sent {
				soon(t, frames, "frame")
			}
			assert.Empty(t, events)
			assert.Contains(t, soon(t, log, "warning"), "denied a private subject")
			assert.Empty(t, log)
			assert.Zero(t, b.Stats().PublishErrors)
			assert.Zero(t, b.Stats().Dropped)
		})
	}
}

// callAll publishes frames with delivery reports in small batches. It waits until each batch has
// arrived before it publishes the next one. arrived returns the number of frames received so far.
func callAll(t *testing.T, sender bus.Bus, frames int, arrived func() int) {
	t.Helper()
	const batch = 50
	for sent := 0; sent < frames; sent += batch {
		for i := range batch {
			require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, fmt.Sprint(sent+i), ""), report{}))
		}
		require.Eventually(t, func() bool { return arrived() == sent+batch }, testTimeout, 100*time.Microsecond)
	}
}

// Most members of the queue group serve another method, and none of them is a psrpc process. Most
// frames must then be published directly to the members that serve the method. When these have
// left, delivery reports must say that there are no receivers.
func TestBus_DirectPublication(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	served, server := listen(t, newBus(t, url, allReports), requests, bus.Queue)
	var buses []*natsbus.Bus
	for range 4 {
		b := newBus(t, url, allReports, noLateFrames)
		listen(t, b, others, bus.Queue)
		buses = append(buses, b)
	}
	misrouted := func() (received uint64) {
		for _, b := range buses {
			received += b.Stats().Received
		}
		return received
	}
	sender := newBus(t, url, natsbus.WithSampleTimeout(time.Hour), allReports)
	const frames = 6000
	callAll(t, sender, frames, func() int { return len(served) })
	t.Logf("%d of %d misrouted", misrouted(), frames)
	assert.Less(t, misrouted(), uint64(frames)*6/10, "without direct publication 80 %")

	server.Close()
	nobody := newReports()
	require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, "x", ""), nobody))
	assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
	frames2, _ := listen(t, buses[0], requests, bus.Queue)
	require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, "x", ""), nobody))
	soon(t, frames2, "frame")
}

// One of the processes that serve the method is a psrpc process, which must receive its share of
// the frames. The bus must therefore not publish frames directly on the private subject.
func TestBus_DirectPublicationWithStrangers(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	strangers := stranger(t, url, requests)
	served, _ := listen(t, newBus(t, url), requests, bus.Queue)
	listen(t, newBus(t, url), others, bus.Queue)
	const frames = 6000
	callAll(t, newBus(t, url), frames, func() int { return len(served) + len(strangers) })
	t.Logf("%d of %d", len(strangers), frames)
	assert.InDelta(t, frames/3, len(strangers), frames/20)
}
