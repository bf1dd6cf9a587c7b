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
	// Connect returns a bus connected to the network. All buses that it returns to one t reach each other. They
	// may be one object, if only one process can be on such a network. The suite closes them, perhaps twice.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers says that reports tell the number of plain subscriptions that got a frame.
	CountsReceivers bool
	// DetectsNoSubscribers says that reports tell when nobody listens on a channel.
	DetectsNoSubscribers bool
	// UnevenQueue says that the members of a queue contend for its frames, so that a fast one may get all of a burst.
	UnevenQueue bool
	// MaxFrameSize is the largest frame the network takes, in bytes; 0 if there is no limit to test.
	MaxFrameSize int
}

// testTimeout bounds the wait for what must happen; a test that passes does not come near it.
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

// harness is one test's view of the network.
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

// channel returns a channel that no other test uses, with a subject of its own.
func (h *harness) channel() bus.Channel {
	n := channelCount.Add(1)
	return bus.Channel{
		Name:    fmt.Sprintf("bustest|Method%d|REQ", n),
		Subject: fmt.Sprintf("SRV.bustest%d", n),
		Key:     "Method.REQ",
	}
}

var frameCount atomic.Uint64

// frame returns an envelope around text, as a frame on a real bus would be. No two are equal, since to a queue equal
// frames may be one.
func frame(text string) []byte {
	encoded, err := proto.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/bustest.Text", Value: []byte(text)})
	if err != nil {
		panic(err) // cannot happen: no field of an Any is checked but the UTF-8 of a constant
	}
	const nonce = 1000 // a field that no Any has
	return protowire.AppendFixed64(protowire.AppendTag(encoded, nonce, protowire.Fixed64Type), frameCount.Add(1))
}

// text returns what frame was made of; a bus may have set the routing key.
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

// inbox is a subscriber that keeps what it gets. It has room for all that a test sends; what does not fit is
// counted, since a Deliver function must not block.
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

// requireNoMore proves that nothing more is on its way to the inboxes: an order promise holds on each channel, so a
// last frame that has arrived has pushed all others out before it.
func (h *harness) requireNoMore(b bus.Bus, channel bus.Channel, inboxes ...*inbox) {
	h.Helper()
	const last = "the last one"
	h.publish(b, channel, last)
	for _, in := range inboxes {
		require.Equal(h, last, in.next())
		require.Zero(h, in.overflow.Load())
	}
}

// reports collects what a bus says of published frames.
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

// waitFor returns when a report says that n subscriptions got the frame.
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
