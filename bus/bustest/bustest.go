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
	// must reach each other; they may be the same object. The suite closes them, possibly more than
	// once.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers enables the check that delivery reports contain the number of broadcast
	// subscriptions that received a frame.
	CountsReceivers bool
	// DetectsNoSubscribers enables the check that delivery reports contain zero receivers for a
	// channel without subscribers.
	DetectsNoSubscribers bool
	// UnevenQueue disables the check that each queue subscriber receives a share of the frames.
	// Where subscribers compete for frames the fastest one may receive all frames of a burst.
	UnevenQueue bool
	// MaxFrameSize is the size limit for frames in bytes. Zero skips the test of the limit.
	MaxFrameSize int
}

// testTimeout bounds the wait for an expected event. Passing tests take much less time.
const testTimeout = 20 * time.Second

// Run runs the suite against network, as subtests of t.
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
	} {
		t.Run(name, func(t *testing.T) { test(t, network) })
	}
}

// harness is a test and its connections to the network.
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

// channel returns a channel, with a subject of its own, that no other test uses.
func (h *harness) channel() bus.Channel {
	n := channelCount.Add(1)
	return bus.Channel{
		Name:    fmt.Sprintf("bustest|Method%d|REQ", n),
		Subject: fmt.Sprintf("SRV.bustest%d", n),
		Key:     "Method.REQ",
	}
}

var frameCount atomic.Uint64

// frame returns an envelope that contains text, because some buses modify envelopes. A nonce makes
// each frame unique, because queues may drop identical frames.
func frame(text string) []byte {
	encoded, err := proto.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/bustest.Text", Value: []byte(text)})
	if err != nil {
		panic(err) // unreachable: the only field that can fail to encode is a constant
	}
	const nonce = 1000 // not a field of Any
	return protowire.AppendFixed64(protowire.AppendTag(encoded, nonce, protowire.Fixed64Type), frameCount.Add(1))
}

// text returns the text in a frame. It ignores the routing key, which a bus may have set.
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

// inbox stores the frames of a subscription. Its capacity suffices for all frames of a test. Frames
// beyond that are counted and dropped, because a Handler must not block.
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

// subscribeInbox subscribes a new inbox.
func (h *harness) subscribeInbox(b bus.Bus, channel bus.Channel, mode bus.Mode, capacity int) (*inbox, bus.Subscription) {
	h.Helper()
	in := h.inbox(capacity)
	return in, h.subscribe(b, channel, mode, in.deliver)
}

// requireNoMore fails the test if another frame is on its way to one of the inboxes. It publishes a
// last frame: channels are ordered, so any frame published before would arrive first.
func (h *harness) requireNoMore(b bus.Bus, channel bus.Channel, inboxes ...*inbox) {
	h.Helper()
	const last = "the last one"
	h.publish(b, channel, last)
	for _, in := range inboxes {
		require.Equal(h, last, in.next())
		require.Zero(h, in.overflow.Load())
	}
}

// reports is a [bus.DeliveryReport] that stores the outcomes of publications.
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

// waitFor waits for a report of n receivers.
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
