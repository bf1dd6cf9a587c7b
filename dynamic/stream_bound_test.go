package dynamic_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// openAnother opens one more stream as a psrpc client, and returns the frame with which the server
// answers.
func (p *flowPeer) openAnother(i int) wire.Stream {
	p.t.Helper()
	p.id = fmt.Sprintf("STR_%012d", i)
	p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)})
	answer, err := wire.ParseStream(requireSoon(p.t, p.frames, "answer").Value)
	require.NoError(p.t, err)
	require.Equal(p.t, p.id, string(answer.StreamID))
	return answer
}

// TestStream_TooManyWithoutKeepalive checks that streams without keepalives are refused and counted
// if there are too many. Streams with keepalives can still be opened. When a stream ends, another
// one can be opened.
func TestStream_TooManyWithoutKeepalive(t *testing.T) {
	t.Parallel()
	const limit = 3
	b := bus.NewLocal()
	w := newFlowWorld(t, b, idle, dynamic.WithMaxStreamsWithoutKeepalive(limit))
	p := newFlowClient(t, b, "Direct")
	for i := range limit {
		require.Equal(t, wire.StreamAck, p.openAnother(i).Op)
	}
	for i := range 10 {
		refused := p.openAnother(limit + i)
		assert.Equal(t, wire.StreamClose, refused.Op)
		assert.EqualValues(t, errors.ResourceExhausted, refused.Code)
	}
	assert.EqualValues(t, 10, w.server.Stats().Refused)
	for range 2 * limit {
		w.open(t, "streams.Flows/Direct")
		w.open(t, flow)
	}
	p.id = "STR_000000000000"
	p.toServer(wire.Stream{Op: wire.StreamClose})
	require.Eventually(t, func() bool { return p.openAnother(100).Op == wire.StreamAck }, atOnce, time.Millisecond)
}

// TestStream_TooManyGranted checks that a claimed stream counts against the limit only once the
// client grants it. Requests that are never granted do not block others.
func TestStream_TooManyGranted(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	w := newFlowWorld(t, b, idle, dynamic.WithMaxStreamsWithoutKeepalive(1))
	p := newFlowClient(t, b, "Flow")
	claims := p.listen(bus.Channel(wire.ClaimRequestChannel("Flows", p.client)), bus.Broadcast)
	var last string
	for i := range 10 {
		p.id = fmt.Sprintf("STR_%012d", i)
		last = string(p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)}).RequestID)
		p.nextClaim(claims)
	}
	p.send(bus.Channel(wire.ClaimResponseChannel("Flows", "Flow", nil)), &wire.ClaimResponse{
		RequestID: []byte(last), ServerID: []byte("SRV_test"),
	})
	p.next(wire.StreamAck)
	assert.Zero(t, w.server.Stats().Refused)
}

func TestStream_TooMany(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle, dynamic.WithMaxStreams(2))
	first := w.open(t, flow)
	w.open(t, flow)
	_, err := w.tryOpen(t, t.Context(), flow)
	requireCode(t, errors.ResourceExhausted, err)
	assert.EqualValues(t, 1, w.server.Stats().Refused)
	require.NoError(t, first.Close(nil))
	require.Eventually(t, func() bool {
		_, err := w.tryOpen(t, t.Context(), flow)
		return err == nil
	}, atOnce, time.Millisecond)
}

// TestStream_IdleTimeout checks that WithStreamIdleTimeout closes a stream without keepalive if no
// frames arrive. Without the option the stream stays open.
func TestStream_IdleTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bus.NewLocal()
		newFlowWorld(t, b, idle, dynamic.WithStreamIdleTimeout(time.Minute))
		p := newFlowClient(t, b, "Direct")
		p.openAsClient()
		for range 5 {
			<-time.After(time.Minute - 1)
			p.toServer(wire.Stream{Op: wire.StreamMessage, Body: textBody("still here")})
			p.next(wire.StreamAck)
		}
		<-time.After(time.Minute)
		closed := p.next(wire.StreamClose)
		assert.EqualValues(t, errors.Unavailable, closed.Code)
	})
	synctest.Test(t, func(t *testing.T) {
		b := bus.NewLocal()
		newFlowWorld(t, b, idle)
		p := newFlowClient(t, b, "Direct")
		p.openAsClient()
		<-time.After(365 * 24 * time.Hour)
		synctest.Wait()
		assert.Empty(t, p.frames)
	})
}
