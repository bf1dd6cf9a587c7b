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
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// A frame that the server gives to a process without a member for it finds its way to one that has.
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

// If no process has a member for a frame, it is dropped, its publisher hears of it, and so does the operator.
func TestBus_QueueWithoutTheMethod(t *testing.T) {
	t.Parallel()
	url := testenv.NATSProcess(t).URL()
	sender := newBus(t, url)
	news, handler := newEvents()
	buses := []*natsbus.Bus{newBus(t, url, handler), newBus(t, url, handler)}
	for _, b := range buses {
		listen(t, b, others, bus.Queue)
	}
	frames, nobody := uint64(0), newReports()
	require.Eventually(t, func() bool { // a report that comes late, as on a busy machine, is not told
		require.NoError(t, sender.Publish(t.Context(), requests, envelope(t, "x", ""), nobody))
		frames++
		return len(nobody) > 0
	}, patience, patience/1000)
	assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
	require.Eventually(t, func() bool { return buses[0].Stats().Dropped+buses[1].Stats().Dropped == frames },
		patience, patience/1000, "frames go to and fro before they are dropped")
	event := news.next(t, bus.Dropped)
	assert.Equal(t, requests.Subject, event.Channel)
	assert.EqualValues(t, 1, event.Frames)
	requireCode(t, errors.FailedPrecondition, event.Err)
	require.ErrorContains(t, event.Err, `"Method.REQ"`)
	require.ErrorContains(t, event.Err, "SRV.Svc.Q")
	require.ErrorContains(t, event.Err, "WithSubjectPerMethod")
	assert.LessOrEqual(t, len(news), 1, "one event from each process, then a pause")
}

func TestBus_SubjectPerMethodTellsMethodsApart(t *testing.T) {
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

// outcome is the report of one frame, which says to all what became of it.
type outcome struct {
	frame string
	lost  chan<- string
}

func (o outcome) Delivered(receivers int, _ error) {
	if receivers == 0 {
		o.lost <- o.frame
	}
}

// While members come and go, and one is always there, each frame is delivered once. Of the few that the server was
// about to give to a member that has left meanwhile the publisher is told.
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
				if i%10 == 0 { // a round trip, so that members come and go meanwhile
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
		case <-time.After(patience):
			require.FailNow(t, "neither delivered nor reported", "%d delivered", len(delivered))
		}
	}
	close(stop)
	members.Wait()
	assert.Empty(t, got, "each comes once")
	assert.Empty(t, lost)
	t.Logf("%d of %d were reported as lost", frames-len(delivered), frames)
	assert.Greater(t, len(delivered), frames-frames/100)
}

// The frames that the server has sent before a member leaves are delivered to it.
func TestSubscription_CloseTakesWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	b, sender := newBus(t, url), newBus(t, url)
	for _, join := range []bus.Mode{bus.Broadcast, bus.Queue} {
		for range 20 {
			frames, leaving := listen(t, b, requests, join)
			_, staying := listen(t, b, others, join) // on the same subject
			const sent = 200
			for range sent {
				publish(t, sender, requests, envelope(t, "x", ""))
			}
			nobody := newReports() // an answer means that the server has seen all
			require.NoError(t, sender.Publish(t.Context(), results, nil, nobody))
			soon(t, nobody, "report")
			leaving.Close()
			require.Len(t, frames, sent)
			staying.Close()
		}
	}
}
