package bustest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Network describes the bus under test.
type Network struct {
	// Connect returns a bus that is connected to the network. All buses returned for the same t
	// must be able to reach each other. They may be the same object. The tests close each bus,
	// possibly more than once.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers reports whether the bus counts the broadcast subscriptions that receive a
	// frame. If so, the tests check this number in delivery reports.
	CountsReceivers bool
	// DetectsNoSubscribers reports whether the bus detects that a channel has no subscribers. If
	// so, the tests check that the delivery report then contains zero receivers.
	DetectsNoSubscribers bool
	// CountsSubscriptions reports whether the method Count of a [bus.Inspector] returns the number
	// of subscriptions. Otherwise, the tests only check whether there are any.
	CountsSubscriptions bool
	// UnevenQueue disables the check that every queue subscriber receives some of the frames. Set
	// it if subscribers compete for frames, because the fastest one may then receive a whole burst.
	UnevenQueue bool
	// MaxFrameSize is the maximum size of a frame, in bytes. If it is zero, the limit is not
	// tested.
	MaxFrameSize int
}

// testTimeout is the timeout of each test. A test that passes takes much less time.
const testTimeout = time.Minute

// Run runs all conformance tests against network as subtests of t.
func Run(t *testing.T, network Network) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Network){
		"Delivery":  testDelivery,
		"Queue":     testQueue,
		"Readiness": testReadiness,
		"Order":     testOrder,
		"Reports":   testReports,
		"Limits":    testLimits,
		"Close":     testClose,
		"Churn":     testChurn,
		"Inspect":   testInspection,
	} {
		t.Run(name, func(t *testing.T) { test(t, network) })
	}
}

// harness combines a test with the network under test. It creates the connections, channels and
// subscriptions that the test needs.
type harness struct {
	*testing.T
	network Network
	ctx     context.Context
}

func newHarness(t *testing.T, network Network) *harness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return &harness{T: t, network: network, ctx: ctx}
}

func (h *harness) connect() bus.Bus {
	h.Helper()
	b := h.network.Connect(h.T)
	h.Cleanup(func() { require.NoError(h, b.Close()) })
	return b
}

var channelCount atomic.Int64

// channel returns a new channel that no other test uses. Its subject is not shared with any other
// channel.
func (h *harness) channel() bus.Channel {
	n := channelCount.Add(1)
	return bus.Channel{
		Name:    fmt.Sprintf("bustest|Method%d|REQ", n),
		Subject: fmt.Sprintf("SRV.bustest%d", n),
		Key:     "Method.REQ",
	}
}

var frameCount atomic.Uint64

// frame returns a frame for tests. Like a real frame, it is a serialized protobuf message of type
// Any, because some buses parse and extend frames. It also contains a nonce, because queues may
// drop identical frames.
func frame(text string) []byte {
	encoded, err := proto.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/bustest.Text", Value: []byte(text)})
	if err != nil {
		panic(err) // this never happens, because Marshal fails only if TypeUrl is invalid
	}
	const nonce = 1000 // the number of an unknown field, which receivers ignore
	return protowire.AppendFixed64(protowire.AppendTag(encoded, nonce, protowire.Fixed64Type), frameCount.Add(1))
}

// text returns the text contained in a test frame. It ignores the routing key that a bus may have
// appended.
func text(frame []byte) string {
	var envelope anypb.Any
	if err := proto.Unmarshal(frame, &envelope); err != nil {
		return fmt.Sprintf("broken frame %x: %v", frame, err)
	}
	return string(envelope.GetValue())
}

func (h *harness) publish(b bus.Bus, channel bus.Channel, text string) {
	h.Helper()
	require.NoError(h, b.Publish(h.ctx, channel, frame(text), nil))
}

func (h *harness) subscribe(b bus.Bus, channel bus.Channel, mode bus.Mode, deliver bus.Handler) bus.Subscription {
	h.Helper()
	subscription, err := b.Subscribe(h.ctx, channel, mode, deliver)
	require.NoError(h, err)
	return subscription
}

// inbox stores the frames received by a subscription. Tests create it with enough capacity for all
// frames they expect. Further frames are counted and dropped, because a Handler must not block.
type inbox struct {
	h        *harness
	texts    chan string
	overflow atomic.Int64
}

func (h *harness) inbox(capacity int) *inbox {
	return &inbox{h: h, texts: make(chan string, capacity)}
}

func (i *inbox) deliver(frame []byte) {
	select {
	case i.texts <- text(frame):
	default:
		i.overflow.Add(1)
	}
}

func (i *inbox) next() string {
	i.h.Helper()
	select {
	case text := <-i.texts:
		return text
	case <-i.h.ctx.Done():
		require.FailNow(i.h, "a frame did not arrive")
		return ""
	}
}

// subscribeInbox creates an inbox and subscribes it to channel.
func (h *harness) subscribeInbox(b bus.Bus, channel bus.Channel, mode bus.Mode, capacity int) (*inbox, bus.Subscription) {
	h.Helper()
	in := h.inbox(capacity)
	return in, h.subscribe(b, channel, mode, in.deliver)
}

// requireNoMore fails the test if another frame is on its way to any of the inboxes. It publishes
// one more frame on b, and requires that this frame is the next to arrive. Other frames that b has
// published on the channel would arrive first.
func (h *harness) requireNoMore(b bus.Bus, channel bus.Channel, inboxes ...*inbox) {
	h.Helper()
	const last = "the last one"
	h.publish(b, channel, last)
	for _, in := range inboxes {
		require.Equal(h, last, in.next())
		require.Zero(h, in.overflow.Load())
	}
}

// reports is a [bus.DeliveryReport] that stores the outcomes passed to Delivered.
type reports struct{ received chan report }

type report struct {
	receivers int
	err       error
}

func newReports() *reports { return &reports{received: make(chan report, 64)} }

func (r *reports) Delivered(receivers int, err error) {
	select {
	case r.received <- report{receivers, err}:
	default:
	}
}

// waitFor waits for a report of n receivers. It fails the test if a report contains an error, or a
// number other than n and bus.Unknown.
func (r *reports) waitFor(h *harness, n int) {
	h.Helper()
	for {
		select {
		case got := <-r.received:
			require.NoError(h, got.err)
			if got.receivers == n {
				return
			}
			require.Equal(h, bus.Unknown, got.receivers)
		case <-h.ctx.Done():
			require.FailNow(h, "no report came", "waiting for %d receivers", n)
		}
	}
}
