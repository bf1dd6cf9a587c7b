package dynamic_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// TestCompressed_RequestsInFlight checks the limit on the memory of decompressed requests.
// Requests above the limit are counted, and either refused or not claimed. Requests that have
// ended make room for others. Requests that were sent uncompressed do not count.
func TestCompressed_RequestsInFlight(t *testing.T) {
	t.Parallel()
	const size = 10_000
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithDecompressionMemory(4*size))
	running, finish := make(chan struct{}, 100), make(chan struct{})
	w.serve(t, dynamic.Handlers{"Direct": dynamic.Unary(func(_ context.Context, request text) (text, error) {
		running <- struct{}{}
		<-finish
		return request, nil
	}), "Best": identity[text]()})
	p := peer{t, w.bus}
	responses, claims := p.listen(responseChannel(peerClient), bus.Broadcast), p.listen(claimChannel(peerClient), bus.Broadcast)
	large := strings.Repeat("x", size)
	request := func(i int) []byte { return encode(t, newRequest(requestID(i), large)) }
	for i := range 3 {
		p.sendRaw(requestChannel("Direct"), compressFrame(t, request(i)))
		requireSoon(t, running, "handler")
	}
	for i := range 5 {
		p.sendRaw(requestChannel("Direct"), compressFrame(t, request(10+i)))
		response := p.nextResponse(responses)
		assert.EqualValues(t, errors.ResourceExhausted, response.Code)
		assert.True(t, response.Unprocessed)
		p.sendRaw(requestChannel("Best"), compressFrame(t, request(20+i)))
	}
	assert.EqualValues(t, 10, w.server.Stats().Refused)
	assert.Empty(t, claims)
	p.sendRaw(requestChannel("Direct"), request(30))
	requireSoon(t, running, "handler of a request that was not compressed")
	close(finish)
	for range 4 {
		assert.Empty(t, p.nextResponse(responses).Error)
	}
	require.Eventually(t, func() bool { // the memory is released only after the response was sent
		p.sendRaw(requestChannel("Best"), compressFrame(t, request(40)))
		select {
		case <-claims:
			return true
		case <-time.After(time.Millisecond):
			return false
		}
	}, atOnce, time.Millisecond)
}

// TestCompressed_WaitForGrant checks that decompressed requests count against the memory limit
// while they wait for a grant. Once they have ended, they no longer count.
func TestCompressed_WaitForGrant(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithDecompressionMemory(30_000))
	w.serve(t, dynamic.Handlers{"Best": identity[text]()})
	p := peer{t, w.bus}
	claims := p.listen(claimChannel(peerClient), bus.Broadcast)
	for round := range 10 {
		id := func(i int) string { return requestID(10*round + i) }
		for i := range 2 {
			p.sendRaw(requestChannel("Best"), compressFrame(t, encode(t, newRequest(id(i), strings.Repeat("x", 10_000)))))
			p.nextClaim(claims)
		}
		p.sendRaw(requestChannel("Best"), compressFrame(t, encode(t, newRequest(id(2), strings.Repeat("x", 10_000)))))
		assert.EqualValues(t, round+1, w.server.Stats().Refused)
		for i := range 2 { // the client selects another server
			p.send(grantChannel("Best"), &wire.ClaimResponse{RequestID: []byte(id(i)), ServerID: []byte("SRV_other")})
		}
	}
}

// TestCompressed_StreamMessagesInFlight checks the limit on the total size of unread stream
// messages that arrived in compressed form. Messages no longer count once they have been read or
// the stream has ended.
func TestCompressed_StreamMessagesInFlight(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	w := newFlowWorld(t, b, idle, dynamic.WithDecompressionMemory(100_000))
	for round := range 3 {
		p := newFlowClient(t, b, "Direct")
		p.id = fmt.Sprintf("STR_%012d", round)
		p.openAsClient()
		before := w.server.Stats().Overflowed
		const messages = dynamic.DefaultStreamBuffer + 50
		for range messages {
			p.sendRaw(p.serverChannel(), compressFrame(t, encode(t, p.frame(wire.Stream{
				Op: wire.StreamMessage, Body: textBody(strings.Repeat("x", 10_000)),
			}))))
			select { // an acknowledgement shows that the stream has accepted the message
			case <-p.frames:
			case <-time.After(time.Millisecond):
			}
		}
		dropped := w.server.Stats().Overflowed - before
		assert.GreaterOrEqual(t, dropped, uint64(40))
		assert.Less(t, dropped, uint64(messages))
		p.toServer(wire.Stream{Op: wire.StreamClose})
		require.Eventually(t, func() bool { return w.server.Stats().Waiting == 0 }, atOnce, time.Millisecond)
	}
}
