package natsbus_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// The server may deliver a frame to a process that does not serve the frame's method. The process
// must then forward the frame to one that does.
func TestBus_QueueOfProcessesThatServeDifferentMethods(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	sender := newBus(t, url)
	methods, _ := listen(t, newBus(t, url), requests, bus.Queue)
	otherMethods, _ := listen(t, newBus(t, url), others, bus.Queue)
	const frames = 200
	lost := newReports()
	for range frames {
		require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, "x", ""), lost))
		require.NoError(t, sender.Publish(t.Context(), others, envelope(t, "y", ""), lost))
	}
	for range frames {
		assert.Equal(t, envelope(t, "x", requests.Key), soon(t, methods, "frame"))
		assert.Equal(t, envelope(t, "y", others.Key), soon(t, otherMethods, "frame of the other method"))
	}
	assert.Empty(t, lost)
}

// Frames of a method that no process serves must be reported to their publishers, without events.
// The processes in the queue group must pass on only the first few of these frames.
func TestBus_QueueWithoutTheMethod(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	sender := newBus(t, url, allReports)
	events, handler := newEvents()
	var buses []*natsbus.Bus
	for range 3 {
		b := newBus(t, url, handler, allReports, noLateFrames)
		listen(t, b, others, bus.Queue)
		buses = append(buses, b)
	}
	const frames = 1000
	nobody := newReports()
	for range frames {
		require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, "x", ""), nobody))
		publish(t, sender, requests, envelope(t, "update", ""))
	}
	for range frames {
		require.Equal(t, published{0, nil}, soon(t, nobody, "report"))
	}
	received := uint64(0)
	for _, b := range buses {
		received += b.Stats().Received
		assert.Zero(t, b.Stats().Dropped)
	}
	t.Logf("%d deliveries of %d frames", received, 2*frames)
	assert.Less(t, received, uint64(2*frames+500))
	assert.Empty(t, events)
}

func TestBus_SubjectPerMethod(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	sender := newBus(t, url, natsbus.WithSubjectPerMethod())
	server := newBus(t, url, natsbus.WithSubjectPerMethod())
	served, _ := listen(t, server, requests, bus.Queue)
	nobody := newReports()
	require.NoError(t, sender.Publish(t.Context(), others, nil, nobody))
	assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
	publish(t, sender, requests, nil)
	soon(t, served, "frame")
	assert.EqualValues(t, 1, server.Stats().Received)
}

// outcome is the delivery report of one frame. If there were no receivers, it sends the frame to
// the channel lost.
type outcome struct {
	frame string
	lost  chan<- string
}

func (o outcome) Delivered(receivers int, _ error) {
	if receivers == 0 {
		o.lost <- o.frame
	}
}

// Members of a queue join and leave, but at least one is always present. Each frame must either be
// delivered once or be reported as lost. Only a few frames may be lost, namely those that the
// server gives to a member that is leaving.
func TestBus_QueueMembersComeAndGo(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	sender := newBus(t, url)
	const frames, publishers = 4000, 4
	got, lost := make(chan string, 2*frames), make(chan string, 2*frames)
	subscribe := func(b bus.Bus) bus.Subscription {
		s, err := b.Subscribe(t.Context(), requests, bus.Queue, func(frame []byte) { got <- string(frame) })
		require.NoError(t, err)
		return s
	}
	// This member serves another method, so it forwards the frames that it gets.
	listen(t, newBus(t, url), others, bus.Queue)
	leaving := subscribe(newBus(t, url))
	stop, members := make(chan struct{}), sync.WaitGroup{}
	members.Go(func() {
		for buses := []*natsbus.Bus{newBus(t, url), newBus(t, url)}; ; buses[0], buses[1] = buses[1], buses[0] {
			select {
			case <-stop:
				return
			default:
				next := subscribe(buses[0])
				leaving.Close()
				leaving = next
			}
		}
	})
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for i := range frames / publishers {
				frame := envelope(t, fmt.Sprint(p, " ", i), "")
				assert.NoError(t, sender.Publish(t.Context(), requests, frame, outcome{string(frame), lost}))
				if i%10 == 0 { // wait for a round trip, so that members have time to join and leave
					nobody := newReports()
					assert.NoError(t, sender.Publish(t.Context(), bus.Channel{Subject: "nobody"}, nil, nobody))
					<-nobody
				}
			}
		})
	}
	publishing.Wait()
	delivered := map[string]int{}
	for range frames {
		select {
		case frame := <-got:
			delivered[frame]++
		case <-lost:
		case <-time.After(testTimeout):
			require.FailNow(t, "neither delivered nor reported", "%d delivered", len(delivered))
		}
	}
	close(stop)
	members.Wait()
	assert.Empty(t, got, "each frame is delivered once")
	assert.Empty(t, lost)
	t.Logf("%d of %d were reported as lost", frames-len(delivered), frames)
	assert.Greater(t, len(delivered), frames-frames/100)
}

// When a subscription is closed, all frames that the server has already sent must still be
// delivered.
func TestSubscription_CloseDeliversFramesInTransit(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	b, sender := newBus(t, url), newBus(t, url)
	for _, join := range []bus.Mode{bus.Broadcast, bus.Queue} {
		for range 20 {
			frames, leaving := listen(t, b, requests, join)
			_, staying := listen(t, b, others, join) // both subscriptions use the same subject
			const sent = 200
			for range sent {
				publish(t, sender, requests, envelope(t, "x", ""))
			}
			nobody := newReports() // its result proves that the server has processed all earlier frames
			require.NoError(t, sender.Publish(t.Context(), results, nil, nobody))
			soon(t, nobody, "report")
			leaving.Close()
			require.Len(t, frames, sent)
			staying.Close()
		}
	}
}
