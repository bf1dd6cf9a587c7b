package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// TestFlood_SkewedClientsAreLoggedRarely checks that warnings about wrong clocks of clients are
// rare, even if a peer uses a thousand client IDs.
func TestFlood_SkewedClientsAreLoggedRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &capturedLog{}
		w := newWorldOn(t, bus.NewLocal(), dynamic.WithLogger(slog.New(log)))
		w.serve(t, dynamic.Handlers{"Direct": identity[text]()})
		p := peer{t, w.bus}
		for i := range 1000 {
			request := newRequest(requestID(i), "hi")
			request.ClientID = fmt.Appendf(nil, "CLI_%d%s", i, strings.Repeat("x", 200))
			request.SentAt += int64(time.Hour)
			request.Expiry += int64(time.Hour)
			p.send(requestChannel("Direct"), request)
		}
		synctest.Wait()
		require.Len(t, log.all(), 1, "the clock stood still")
		assert.Less(t, len(log.all()[0]["client"].(string)), 200)
	})
}

// TestFlood_UnansweredOpenings checks that streams whose opening cannot be acknowledged are
// counted, and that the log has few lines about them.
func TestFlood_UnansweredOpenings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := newFakeBus(), &capturedLog{}
		w := newFlowWorld(t, b, idle, dynamic.WithLogger(slog.New(log)))
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if strings.Contains(channel.Name, peerClient) {
				return errors.NewErrorf(errors.InvalidArgument, "no subject")
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		p := newFlowClient(t, b, "Direct")
		const openings = 500
		for i := range openings {
			p.id = fmt.Sprintf("STR_%012d", i)
			require.NoError(t, b.Publish(t.Context(), p.serverChannel(), encode(t, p.frame(wire.Stream{
				Op: wire.StreamOpen, NodeID: []byte(p.client),
			})), nil))
		}
		synctest.Wait()
		assert.EqualValues(t, openings, w.server.Stats().Unsent)
		assert.Len(t, log.all(), 1, "one line a second, and the clock stood still")
	})
}

// TestFlood_LargeControlFrames checks that a compressed claim, grant or cancellation counts as a
// bad frame if it is large after decompression. Valid frames of these kinds contain only IDs, so
// they are small.
func TestFlood_LargeControlFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Best": identity[text](), "Direct": identity[text]()})
	textClient(t, w.conn, best) // creating a client makes the conn subscribe to its channels
	p := peer{t, w.bus}
	padded := func(message frame, size int) (name string, value []byte) {
		envelope, err := wire.ParseEnvelope(encode(t, message))
		require.NoError(t, err)
		value = protowire.AppendTag(envelope.Value, 15, protowire.BytesType)
		return string(envelope.TypeName), protowire.AppendBytes(value, make([]byte, size))
	}
	want := uint64(0)
	for channel, message := range map[bus.Channel]frame{
		claimChannel("CLI_test"):                  &wire.ClaimRequest{RequestID: []byte(peerRequest), ServerID: []byte("SRV_x")},
		grantChannel("Best"):                      &wire.ClaimResponse{RequestID: []byte(peerRequest), ServerID: []byte("SRV_x")},
		bus.Channel(wire.CancelChannel("Echoes")): &wire.Cancel{RequestID: []byte(peerRequest)},
	} {
		name, value := padded(message, 10_000)
		p.sendRaw(channel, envelope(name, gzipped(t, value)))
		name, value = padded(message, 100_000)
		p.sendRaw(channel, envelope(name, value))
		assert.Equal(t, want, w.badFrames(), name)
		p.sendRaw(channel, envelope(name, gzipped(t, value)))
		want++
		assert.Equal(t, want, w.badFrames(), name)
	}
	w.requireWorking(t)
}

// TestFlood_LargeStreamMessages checks that the total size of unread stream messages is limited,
// not only their number.
func TestFlood_LargeStreamMessages(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	w := &flowWorld{world: newWorldOn(t, b)}
	w.registry = newRegistry(t, streamSource)
	w.serveFlows(t, w.server, idle, dynamic.WithStreamBuffer(1))
	p := newFlowClient(t, b, "Direct")
	p.openAsClient()
	body := textBody(strings.Repeat("x", 8<<20))
	const messages = 12 // 96 MiB in total
	for range messages {
		p.toServer(wire.Stream{Op: wire.StreamMessage, Body: body})
	}
	dropped := w.server.Stats().Overflowed
	assert.GreaterOrEqual(t, dropped, uint64(messages-7-2-1), "7 in the mailbox, 1 in the channel, 1 that waits for it")
	assert.Less(t, dropped, uint64(messages-1))
}

// TestFlood_ClaimOnABusyBus checks that the server gives up a claim which the bus does not accept.
// It does so after its own timeout, although the request expires much later.
func TestFlood_ClaimOnABusyBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b, dynamic.WithServerTimeout(time.Second), dynamic.WithLogger(slog.New(slog.DiscardHandler)))
		w.serve(t, dynamic.Handlers{"Best": identity[text]()})
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if strings.HasSuffix(channel.Name, "|CLAIM") {
				<-ctx.Done()
				return ctx.Err()
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		require.NoError(t, b.Publish(t.Context(), requestChannel("Best"), encode(t, eternalRequest(peerRequest)), nil))
		<-time.After(time.Second - 1)
		synctest.Wait()
		assert.Zero(t, w.server.Stats().Unsent)
		<-time.After(1)
		synctest.Wait()
		assert.EqualValues(t, 1, w.server.Stats().Unsent)
	})
}

// TestFlood_LargeOpenings checks that an open stream does not keep the frame that opened it in
// memory. It is not parallel, because it measures memory.
func TestFlood_LargeOpenings(t *testing.T) {
	b := bus.NewLocal()
	newFlowWorld(t, b, idle)
	p := newFlowClient(t, b, "Direct")
	const openings, size = 32, 1 << 20
	padding := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, size))
	before := heapInUse()
	for i := range openings {
		p.id = fmt.Sprintf("STR_%012d", i)
		open, err := wire.ParseEnvelope(encode(t, p.frame(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)})))
		require.NoError(t, err)
		p.sendRaw(p.serverChannel(), envelope(string(open.TypeName), append(open.Value, padding...)))
		p.next(wire.StreamAck)
	}
	assert.Less(t, heapInUse(), before+openings*size/4)
}

// heapInUse returns the number of bytes on the heap after a garbage collection.
func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
