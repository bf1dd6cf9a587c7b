package dynamic_test

import (
	"context"
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

// TestServerStream_PsrpcClient sends the frames of a psrpc client to a method that needs no claim.
func TestServerStream_PsrpcClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFlowWorld(t, bus.NewLocal(), idle)
		w.server.Kill()
		server := w.newServer(t)
		w.serveFlows(t, server, echoFlow)
		p := newFlowClient(t, w.bus, "Direct")
		p.openAsClient()
		message := p.toServer(wire.Stream{Op: wire.StreamMessage, Body: textBody("hi")})
		requireAck(t, *message, p.next(wire.StreamAck))
		echoed := p.next(wire.StreamMessage)
		assert.Equal(t, "hi", bodyText(t, echoed))
		assert.Equal(t, p.id, string(echoed.StreamID))
		assert.Regexp(t, `^REQ_[a-zA-Z0-9]{12}$`, string(echoed.RequestID))
		assert.Equal(t, dynamic.DefaultServerTimeout, time.Duration(echoed.Expiry-echoed.SentAt))
		p.toServer(ack(echoed))
		p.toServer(wire.Stream{Op: wire.StreamMessage, Body: textBody("again")})
		p.next(wire.StreamAck)
		assert.Equal(t, "again", bodyText(t, p.next(wire.StreamMessage)))
		p.toServer(wire.Stream{Op: wire.StreamClose, Code: "canceled", Error: "stream closed"})
		require.NoError(t, server.Shutdown(context.Background()))
		assert.Empty(t, p.frames, "a close is not answered")
	})
}

// TestServerStream_PsrpcClientWithClaim checks that the server sends a claim, waits for the grant,
// and only then acknowledges the stream.
func TestServerStream_PsrpcClientWithClaim(t *testing.T) {
	t.Parallel()
	handle, servers, results := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	p := newFlowClient(t, w.bus, "Flow")
	claims := p.listen(bus.Channel(wire.ClaimRequestChannel("Flows", p.client)), bus.Broadcast)
	grants := bus.Channel(wire.ClaimResponseChannel("Flows", "Flow", nil))

	open := p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client), Metadata: map[string]string{"a": "b"}})
	claim := p.nextClaim(claims)
	assert.Equal(t, open.RequestID, claim.RequestID)
	assert.Equal(t, "SRV_test", string(claim.ServerID))
	assert.InDelta(t, 1, claim.Affinity, 0)
	assert.Empty(t, p.frames, "no ack without a grant")
	p.send(grants, &wire.ClaimResponse{RequestID: open.RequestID, ServerID: claim.ServerID})
	requireAck(t, *open, p.next(wire.StreamAck))
	incoming, ok := dynamic.RequestInfoFromContext(requireSoon(t, servers, "handler").Context())
	require.True(t, ok)
	assert.Equal(t, p.client, incoming.ClientID)
	assert.Equal(t, map[string]string{"a": "b"}, incoming.Metadata)
	assert.Equal(t, open.SentAt, incoming.SentAt.UnixNano())

	// A stream that the client grants to another server is not served.
	p.id = "STR_other"
	open = p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)})
	p.nextClaim(claims)
	p.send(grants, &wire.ClaimResponse{RequestID: open.RequestID, ServerID: []byte("SRV_other")})
	results <- nil // makes the handler return
	require.NoError(t, w.service.Close(context.Background()))
	p.id = "STR_peerpeerpeer"
	assert.Equal(t, p.id, string(p.next(wire.StreamClose).StreamID), "the first one only")
	assert.Empty(t, p.frames)
}

// TestServerStream_FramesWithoutEffect checks that the server ignores the frames that psrpc
// ignores, and counts them.
func TestServerStream_FramesWithoutEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handle, servers, _ := handing(t)
		w := newFlowWorld(t, bus.NewLocal(), handle)
		p := newFlowClient(t, w.bus, "Direct")
		past := time.Now().Add(-time.Millisecond).UnixNano()
		p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client), Expiry: past})
		p.openAsClient()
		server := requireSoon(t, servers, "handler")
		// This frame opens a second stream with the same ID.
		p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)})
		require.Eventually(t, func() bool { return w.server.Stats().Unmatched == 1 }, atOnce, time.Millisecond,
			"a worker finds out")

		unknown := []byte("STR_unknown")
		for _, op := range []wire.StreamOp{wire.StreamMessage, wire.StreamAck, wire.StreamClose, wire.StreamPing, wire.StreamNone} {
			p.toServer(wire.Stream{Op: op, StreamID: unknown})
			p.toServer(wire.Stream{Op: op, Expiry: past})
		}
		none := p.frame(wire.Stream{Op: wire.StreamMessage})
		none.Expiry = 0 // a missing expiry counts as expired
		p.send(p.serverChannel(), none)
		p.toServer(wire.Stream{Op: wire.StreamNone})
		p.toServer(wire.Stream{Op: wire.StreamPing})
		p.toServer(wire.Stream{Op: wire.StreamAck}) // acknowledges no message
		p.toServer(wire.Stream{Op: wire.StreamAck, RequestID: []byte("short")})
		p.sendRaw(p.serverChannel(), []byte("\xff"))
		p.send(p.serverChannel(), newRequest("REQ_x", "hi")) // this frame belongs on another channel
		assert.Equal(t, dynamic.ServerStats{BadFrames: 2, Expired: 1 + 5 + 1, Unmatched: 1 + 5 + 1 + 2}, w.server.Stats())
		require.NoError(t, server.Err())
		assert.Empty(t, p.frames)
		assert.Empty(t, server.Channel())

		p.toServer(wire.Stream{Op: wire.StreamClose, Code: "aborted", Error: "bye"})
		assert.Equal(t, "bye", requireCode(t, errors.Aborted, server.Err()).Error())
		p.toServer(wire.Stream{Op: wire.StreamMessage, Body: textBody("late")})
		p.toServer(wire.Stream{Op: wire.StreamClose})
		requireClosed(t, server.Channel())
		assert.Empty(t, p.frames)
		assert.Equal(t, uint64(1+5+1+2+2), w.server.Stats().Unmatched)
	})
}

// TestServerStream_UndecodableMessage checks that a message which cannot be decoded closes the
// stream and is not acknowledged.
func TestServerStream_UndecodableMessage(t *testing.T) {
	t.Parallel()
	handle, servers, results := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	p := newFlowClient(t, w.bus, "Direct")
	p.openAsClient()
	server := requireSoon(t, servers, "handler")
	p.toServer(wire.Stream{Op: wire.StreamMessage, Body: wire.Body{Raw: []byte("\xff")}})
	closed := p.next(wire.StreamClose)
	assert.Equal(t, string(errors.MalformedRequest), closed.Code)
	assert.NotEmpty(t, closed.Error)
	requireSoon(t, server.Context().Done(), "close")
	requireCode(t, errors.MalformedRequest, server.Err())
	requireCode(t, errors.MalformedRequest, server.Send(say("hi")))
	requireClosed(t, server.Channel())
	results <- nil
	require.NoError(t, w.service.Close(context.Background()))
	assert.Empty(t, p.frames)
}

// TestServerStream_EmptyClose checks that a close that has neither a code nor a text still causes
// an error.
func TestServerStream_EmptyClose(t *testing.T) {
	t.Parallel()
	handle, servers, _ := handing(t)
	w := newFlowWorld(t, bus.NewLocal(), handle)
	p := newFlowClient(t, w.bus, "Direct")
	p.openAsClient()
	p.toServer(wire.Stream{Op: wire.StreamClose})
	requireCode(t, errors.Unknown, requireSoon(t, servers, "handler").Err())
}

// TestServerStream_SilentPsrpcClient checks that Send times out if the client does not acknowledge
// the message. The stream stays open, and the server sends no pings, because psrpc has no
// keepalive.
func TestServerStream_SilentPsrpcClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handle, servers, _ := handing(t)
		w := newFlowWorld(t, bus.NewLocal(), handle, dynamic.WithServerTimeout(20*time.Millisecond),
			dynamic.WithKeepalive(dynamic.MinimumKeepalive))
		p := newFlowClient(t, w.bus, "Direct")
		p.openAsClient()
		server := requireSoon(t, servers, "handler")
		err := server.Send(say("hi"))
		requireCode(t, errors.DeadlineExceeded, err)
		require.ErrorIs(t, err, errors.ErrRequestTimedOut)
		facts := requireFacts(t, errors.ReasonSilent, err)
		assert.Equal(t, directFlow, facts.Method)
		require.NoError(t, server.Err())
		late := p.next(wire.StreamMessage)
		p.toServer(ack(late))

		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan error, 1)
		go func() {
			sent <- server.Send(say("x"), dynamic.WithStreamTimeout(time.Hour), dynamic.WithStreamContext(ctx))
		}()
		p.next(wire.StreamMessage)
		cancel()
		err = requireSoon(t, sent, "send")
		require.ErrorIs(t, err, errors.ErrRequestCanceled)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, server.Err())

		// This goroutine ends when the acknowledgement arrives.
		go func() { sent <- server.Send(say("y"), dynamic.WithStreamTimeout(time.Hour)) }()
		p.toServer(ack(p.next(wire.StreamMessage)))
		require.NoError(t, requireSoon(t, sent, "send"))
		assert.Empty(t, p.frames)
	})
}

// TestClientStream_PsrpcServer sends the frames of a psrpc server to a client.
func TestClientStream_PsrpcServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFlowWorld(t, bus.NewLocal(), idle)
		w.server.Kill()
		p := newFlowServer(t, w.bus, "Direct")
		conn, err := dynamic.NewConn(w.bus, w.registry, dynamic.WithClientID("CLI_default"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		client := textClient(t, conn, directFlow)
		opened, sent := make(chan clientText, 1), make(chan error, 1)
		go func() { // this goroutine ends when the message is acknowledged
			stream, err := client.OpenStream(t.Context(), dynamic.WithMetadata(map[string]string{"a": "b"}))
			if err != nil {
				t.Error(err)
				return
			}
			opened <- stream
			sent <- stream.Send(say("hi"))
		}()
		open := p.acceptAsServer()
		assert.Equal(t, "CLI_default", string(open.NodeID))
		assert.Regexp(t, `^STR_[a-zA-Z0-9]{12}$`, string(open.StreamID))
		assert.Regexp(t, `^REQ_[a-zA-Z0-9]{12}$`, string(open.RequestID))
		assert.Equal(t, map[string]string{"a": "b"}, open.Metadata)
		assert.Equal(t, dynamic.DefaultClientTimeout, time.Duration(open.Expiry-open.SentAt))
		assert.Equal(t, dynamic.DefaultKeepalive, time.Duration(open.Keepalive))
		stream := requireSoon(t, opened, "stream")

		message := p.next(wire.StreamMessage)
		assert.Equal(t, "hi", bodyText(t, message))
		assert.Equal(t, dynamic.DefaultClientTimeout, time.Duration(message.Expiry-message.SentAt))
		p.toClient(ack(open)) // a second acknowledgement does no harm
		p.toClient(ack(message))
		require.NoError(t, requireSoon(t, sent, "send"))
		p.toClient(ack(message))

		back := p.toClient(wire.Stream{Op: wire.StreamMessage, Body: textBody("back")})
		requireAck(t, *back, p.next(wire.StreamAck))
		requireText(t, "back", stream.Channel())
		p.toClient(wire.Stream{Op: wire.StreamClose, Code: "not_found", Error: "room gone"})
		assert.Equal(t, "room gone", requireCode(t, errors.NotFound, stream.Err()).Error())
		requireClosed(t, stream.Channel())
		p.toClient(wire.Stream{Op: wire.StreamMessage, Body: textBody("late")})
		assert.Empty(t, p.frames)
		assert.Equal(t, dynamic.ConnStats{Unmatched: 2}, conn.Stats())
	})
}

// TestClientStream_BadFrames checks that the client ignores and counts the frames that psrpc
// ignores. A message that cannot be decoded closes the stream.
func TestClientStream_BadFrames(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	w.server.Kill()
	p := newFlowServer(t, w.bus, "Direct")
	opened := make(chan clientText, 1)
	client := textClient(t, w.conn, directFlow)
	go func() { // this goroutine ends when the stream is open
		stream, err := client.OpenStream(t.Context())
		if err != nil {
			t.Error(err)
		}
		opened <- stream
	}()
	p.acceptAsServer()
	stream := requireSoon(t, opened, "stream")
	p.toClient(wire.Stream{Op: wire.StreamMessage, Expiry: 1})
	p.toClient(wire.Stream{Op: wire.StreamClose, StreamID: []byte("STR_unknown")})
	p.toClient(wire.Stream{Op: wire.StreamOpen})
	p.toClient(wire.Stream{Op: wire.StreamNone})
	p.sendRaw(p.clientChannel(), []byte("\xff"))
	assert.Equal(t, dynamic.ConnStats{Unmatched: 3, Expired: 1, BadFrames: 1}, w.conn.Stats())
	require.NoError(t, stream.Err())
	assert.Empty(t, p.frames)
	p.toClient(wire.Stream{Op: wire.StreamMessage, Body: wire.Body{Raw: []byte("\xff")}})
	assert.Equal(t, string(errors.MalformedRequest), p.next(wire.StreamClose).Code)
	requireClosed(t, stream.Channel())
	requireCode(t, errors.MalformedRequest, stream.Err())
}

// TestClientStream_AckBeforeClaim checks that an acknowledgement which arrives before the claim
// takes effect once the client has selected the server.
func TestClientStream_AckBeforeClaim(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	w.server.Kill()
	p := newFlowServer(t, w.bus, "Flow")
	grants := p.listen(bus.Channel(wire.ClaimResponseChannel("Flows", "Flow", nil)), bus.Broadcast)
	client := textClient(t, w.conn, flow)
	opened := make(chan error, 1)
	go func() { // this goroutine ends when the stream is open
		_, err := client.OpenStream(t.Context(), dynamic.WithRequestTimeout(time.Hour))
		opened <- err
	}()
	open := p.acceptAsServer()
	assert.Empty(t, opened, "an ack is not enough")
	p.send(bus.Channel(wire.ClaimRequestChannel("Flows", p.client)), &wire.ClaimRequest{
		RequestID: open.RequestID, ServerID: []byte(peerServer), Affinity: 1,
	})
	grant := p.nextGrant(grants)
	assert.Equal(t, open.RequestID, grant.RequestID)
	assert.Equal(t, peerServer, string(grant.ServerID))
	require.NoError(t, requireSoon(t, opened, "open"))
}

// TestClientStream_RefusedByServer checks that OpenStream returns the server's error if the server
// sends a close instead of an acknowledgement.
func TestClientStream_RefusedByServer(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	w.server.Kill()
	p := newFlowServer(t, w.bus, "Direct")
	client := textClient(t, w.conn, directFlow)
	opened := make(chan error, 1)
	go func() { // this goroutine ends when the server has sent the close
		_, err := client.OpenStream(t.Context(), dynamic.WithRequestTimeout(time.Hour))
		opened <- err
	}()
	open := p.next(wire.StreamOpen)
	p.id, p.client = string(open.StreamID), string(open.NodeID)
	p.toClient(wire.Stream{Op: wire.StreamClose, Code: "resource_exhausted", Error: "full"})
	assert.Equal(t, "full", requireCode(t, errors.ResourceExhausted, requireSoon(t, opened, "open")).Error())
	assert.Empty(t, p.frames, "it needs no close")
}
