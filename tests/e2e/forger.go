package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// forger is a misbehaving peer. It publishes frames that no correct peer would send.
type forger struct {
	*world

	bus bus.Bus
	// id is used both as the client ID and as the server ID.
	id    string
	count atomic.Int64
}

func newForger(w *world) *forger {
	w.Helper()
	return &forger{world: w, bus: w.connect(), id: fmt.Sprintf("FORGER_%s", w.suffix)}
}

// frame is a message of the wire protocol, such as a request. AppendFrame encodes it.
type frame interface {
	AppendFrame(dst []byte) ([]byte, error)
}

func (f *forger) send(channel wire.Channel, message frame) {
	f.Helper()
	encoded, err := message.AppendFrame(nil)
	require.NoError(f, err)
	f.sendRaw(channel, encoded)
}

func (f *forger) sendRaw(channel wire.Channel, encoded []byte) {
	f.Helper()
	require.NoError(f, f.bus.Publish(context.Background(), bus.Channel(channel), encoded, nil))
}

// listen subscribes to a channel. It returns a Go channel of the frames that arrive. The function
// stop ends the subscription. Frames that cannot be parsed are dropped.
func (f *forger) listen(channel wire.Channel, join bus.Mode) (envelopes <-chan wire.Envelope, stop func()) {
	f.Helper()
	received := make(chan wire.Envelope, 10_000)
	subscription, err := f.bus.Subscribe(context.Background(), bus.Channel(channel), join, func(frame []byte) {
		if envelope, err := wire.ParseEnvelope(frame); err == nil {
			received <- envelope
		}
	})
	require.NoError(f, err)
	return received, subscription.Close
}

func (f *forger) requestChannel(method string) wire.Channel {
	return wire.RequestChannel(f.wireName(calls), method, nil, isQueue(method))
}

func (f *forger) newID() []byte { return fmt.Appendf(nil, "REQ_forged%06d", f.count.Add(1)) }

// isQueue reports whether the bus delivers each request for a method of this kind to only one
// server.
func isQueue(kind string) bool { return kind == kindQueue || kind == kindSingleServer }

// request returns a valid request that contains body.
func (f *forger) request(body proto.Message) *wire.Request {
	now := time.Now()
	return &wire.Request{
		RequestID: f.newID(), ClientID: []byte(f.id), SentAt: now.UnixNano(), Expiry: now.Add(patience).UnixNano(),
		Body: wire.Body{Message: body},
	}
}

// stream returns a stream frame with a valid send time and a valid expiry.
func (f *forger) stream(streamID string, op wire.StreamOp) *wire.Stream {
	now := time.Now()
	return &wire.Stream{
		StreamID: []byte(streamID), RequestID: f.newID(), SentAt: now.UnixNano(), Expiry: now.Add(patience).UnixNano(),
		Op: op, NodeID: []byte(f.id),
	}
}

// eventually waits until counter returns at least minimum. It fails the test if that takes longer
// than patience.
func (f *forger) eventually(counter func() uint64, minimum int, what string) {
	f.Helper()
	require.Eventually(f, func() bool { return counter() >= uint64(minimum) }, patience, time.Millisecond,
		"%s: a counter stays at less than %d", what, minimum)
}
