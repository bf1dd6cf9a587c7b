package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// testForgery checks that invalid frames are dropped and counted, and that all clients and servers
// still work afterwards.
func testForgery(t *testing.T, network Network) {
	for name, test := range map[string]func(*testing.T, Network){
		"Answers":         testForgedAnswers,
		"Grants":          testForgedGrants,
		"Requests":        testForgedRequests,
		"Updates":         testForgedUpdates,
		"FramesToClients": testForgedFramesToClients,
		"FramesToServers": testForgedFramesToServers,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, network)
		})
	}
}

// testForgedAnswers checks that a client tolerates a server that sends many claims and many
// responses for each request.
func testForgedAnswers(t *testing.T, network Network) {
	for _, kind := range callKinds {
		for _, times := range []int{3, 1000} {
			t.Run(fmt.Sprintf("%s/%d", kind, times), func(t *testing.T) {
				t.Parallel()
				if kind == kindAffinity && network.MixesChannels {
					t.Skip("the answers may come before the claims, and those of a server that was not chosen do not count")
				}
				w := newWorld(t, network)
				f, conn := newForger(w), w.conn()
				join := bus.Broadcast
				if isQueue(kind) {
					join = bus.Queue
				}
				requests, stop := f.listen(f.requestChannel(kind), join)
				call := newGeneratedCall(t, conn, kind)
				rounds := 3
				if times > 3 {
					rounds = 1 // the calls after the flood show that the client still works
				}
				for range rounds {
					answered := make(chan error, 1)
					go func() { // this goroutine ends when the call returns
						_, err := call(t.Context(), sample("Ada"))
						answered <- err
					}()
					request, err := wire.ParseRequest(soon(t, requests, "request").Value)
					require.NoError(t, err)
					f.flood(request, times)
					require.NoError(t, soon(t, answered, "answer"))
				}
				f.eventually(func() uint64 { return conn.Stats().Unmatched }, rounds*(times-1), "answers")
				stop()
				serveAll(w, w.server())
				requireWorking(t, conn)
			})
		}
	}
}

// flood responds to a request with several claims, followed by the same number of responses.
func (f *forger) flood(request wire.Request, times int) {
	f.Helper()
	claims := wire.ClaimRequestChannel(f.wireName(calls), string(request.ClientID))
	responses := wire.ResponseChannel(f.wireName(calls), string(request.ClientID))
	for range times {
		f.send(claims, &wire.ClaimRequest{RequestID: request.RequestID, ServerID: []byte(f.id), Affinity: 1})
	}
	for range times {
		f.send(responses, &wire.Response{
			RequestID: request.RequestID, ServerID: []byte(f.id), SentAt: time.Now().UnixNano(),
			Body: wire.Body{Message: &api.MyResponse{}},
		})
	}
}

// testForgedGrants checks that a server handles a request only once, even if the client sends a
// thousand claim responses that select this server.
func testForgedGrants(t *testing.T, network Network) {
	w := newWorld(t, network)
	server := w.server()
	serveAll(w, server)
	f := newForger(w)
	claims, _ := f.listen(wire.ClaimRequestChannel(w.wireName(calls), f.id), bus.Broadcast)
	responses, _ := f.listen(wire.ResponseChannel(w.wireName(calls), f.id), bus.Broadcast)
	for _, kind := range []string{kindQueue, kindAffinity} {
		f.send(f.requestChannel(kind), f.request(sample("Ada")))
		claim, err := wire.ParseClaimRequest(soon(t, claims, "claim").Value)
		require.NoError(t, err)
		for range 1000 {
			f.send(wire.ClaimResponseChannel(w.wireName(calls), kind, nil),
				&wire.ClaimResponse{RequestID: claim.RequestID, ServerID: claim.ServerID})
		}
		response, err := wire.ParseResponse(soon(t, responses, "response").Value)
		require.NoError(t, err)
		assert.Empty(t, response.Error)
		assert.Empty(t, responses)
	}
	requireWorking(t, w.conn())
}

// forgedFrames returns frames that are invalid on a channel for frames of kind channelKind. These
// are malformed frames and frames of all other kinds.
func forgedFrames(t testing.TB, channelKind wire.Kind) [][]byte {
	t.Helper()
	frames := [][]byte{nil, {0xff}, []byte("not a frame"), {0x0a, 0x80}}
	for kind, message := range map[wire.Kind]frame{
		wire.KindRequest:       &wire.Request{RequestID: []byte("REQ_forged")},
		wire.KindResponse:      &wire.Response{RequestID: []byte("REQ_forged")},
		wire.KindClaimRequest:  &wire.ClaimRequest{RequestID: []byte("REQ_forged")},
		wire.KindClaimResponse: &wire.ClaimResponse{RequestID: []byte("REQ_forged")},
		wire.KindStream:        &wire.Stream{StreamID: []byte("STR_forged")},
	} {
		if kind == channelKind {
			continue
		}
		encoded, err := message.AppendFrame(nil)
		require.NoError(t, err)
		frames = append(frames, encoded)
	}
	other, err := wire.AppendMessageFrame(nil, wire.Body{Message: &api.Address{}}, "example.compiled.v1.Address", 0)
	require.NoError(t, err)
	return append(frames, other)
}

// routable reports whether every network can deliver a frame. Some networks parse the routing key
// of each frame and cannot deliver a frame without a valid one.
func routable(encoded []byte) bool {
	_, err := wire.RoutingKey(encoded)
	return err == nil
}

// testForgedRequests sends four kinds of invalid frames to a server. The server must count
// malformed frames as bad, and must not respond to them. It must count requests that have expired
// or have no expiry as expired, and must not respond to them either. If the message of a request
// cannot be decoded, the server must respond with an error.
func testForgedRequests(t *testing.T, network Network) {
	w := newWorld(t, network)
	server := w.server()
	serveAll(w, server)
	f := newForger(w)
	responses, _ := f.listen(wire.ResponseChannel(w.wireName(calls), f.id), bus.Broadcast)
	bad := 0
	for _, kind := range callKinds {
		for _, encoded := range forgedFrames(t, wire.KindRequest) {
			f.sendRaw(f.requestChannel(kind), encoded)
			// On a queue, the bus may drop identical frames as duplicates.
			if routable(encoded) && !isQueue(kind) {
				bad++
			}
		}
		stale, without := f.request(sample("stale")), f.request(sample("without"))
		stale.Expiry, without.Expiry = time.Now().Add(-time.Second).UnixNano(), 0
		f.send(f.requestChannel(kind), stale)
		f.send(f.requestChannel(kind), without)

		malformed := f.request(nil)
		malformed.Body = wire.Body{Raw: []byte{0xff, 0xff}}
		f.send(f.requestChannel(kind), malformed)
		response, err := wire.ParseResponse(soon(t, responses, "response").Value)
		require.NoError(t, err)
		assert.Equal(t, string(errors.MalformedRequest), response.Code)
	}
	f.eventually(func() uint64 { return server.Stats().BadFrames }, bad, "bad frames")
	f.eventually(func() uint64 { return server.Stats().Expired }, 2*len(callKinds), "expired requests")
	assert.Empty(t, responses, "nothing else is answered")
	requireWorking(t, w.conn())
}

// testForgedUpdates checks that a subscriber drops frames that are not valid updates.
func testForgedUpdates(t *testing.T, network Network) {
	w := newWorld(t, network)
	f, conn := newForger(w), w.conn()
	for _, kind := range feedKinds {
		subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, fullName(feeds, kind))
		require.NoError(t, err)
		channel := wire.RequestChannel(w.wireName(feeds), kind, nil, kind == kindQueue)
		bad := 0
		for _, encoded := range forgedFrames(t, wire.KindUnknown) {
			f.sendRaw(channel, encoded)
			if routable(encoded) && kind != kindQueue {
				bad++
			}
		}
		undecodable, err := wire.AppendMessageFrame(nil, wire.Body{Raw: []byte{0xff}}, "example.compiled.v1.MyUpdate", 0)
		require.NoError(t, err)
		f.sendRaw(channel, undecodable)
		// On a queue, the bus may drop the frame as a duplicate if an earlier run of the test has
		// sent it.
		if kind != kindQueue {
			bad++
		}
		f.eventually(func() uint64 { return subscription.Stats().BadFrames }, bad, kind)
		require.NoError(t, dynamic.Publish(t.Context(), conn, fullName(feeds, kind), publishedUpdate()))
		requireEqual(t, publishedUpdate(), soon(t, subscription.Channel(), kind))
		require.NoError(t, subscription.Close())
	}
}

// testForgedFramesToClients sends invalid frames to each channel of a client. To the client's
// stream channel, it also sends frames of unknown streams and of closed streams. It checks that the
// client counts and drops all these frames.
func testForgedFramesToClients(t *testing.T, network Network) {
	w := newWorld(t, network)
	serveAll(w, w.server())
	f, conn := newForger(w), w.conn()
	// The calls make conn subscribe to all of its channels.
	requireWorking(t, conn)
	before := conn.Stats()
	bad := 0
	for channel, kind := range map[wire.Channel]wire.Kind{
		wire.ClaimRequestChannel(w.wireName(calls), conn.ID()):   wire.KindClaimRequest,
		wire.ResponseChannel(w.wireName(calls), conn.ID()):       wire.KindResponse,
		wire.StreamClientChannel(w.wireName(streams), conn.ID()): wire.KindStream,
	} {
		for _, encoded := range forgedFrames(t, kind) {
			f.sendRaw(channel, encoded)
			if routable(encoded) {
				bad++
			}
		}
	}
	unknown := f.sendStreamFrames(wire.StreamClientChannel(w.wireName(streams), conn.ID()), "STR_unknown")
	f.eventually(func() uint64 { return conn.Stats().BadFrames - before.BadFrames }, bad, "bad frames")
	f.eventually(func() uint64 { return conn.Stats().Unmatched - before.Unmatched }, unknown, "frames of unknown streams")

	for _, kind := range streamKinds {
		f.afterClose(conn, kind)
	}
	requireWorking(t, conn)
}

// sendStreamFrames sends three frames for each stream operation except opening: one with a valid
// expiry, one that has expired, and one without an expiry. It returns the number of frames sent.
func (f *forger) sendStreamFrames(channel wire.Channel, streamID string) (count int) {
	f.Helper()
	for _, op := range []wire.StreamOp{wire.StreamNone, wire.StreamMessage, wire.StreamAck, wire.StreamPing, wire.StreamClose} {
		for _, expiry := range []int64{time.Now().Add(patience).UnixNano(), time.Now().Add(-time.Second).UnixNano(), 0} {
			frame := f.stream(streamID, op)
			frame.Expiry = expiry
			f.send(channel, frame)
			count++
		}
	}
	return count
}

// afterClose acts as a server that accepts a stream and closes it. It then checks that the client
// counts and drops further frames of the stream.
func (f *forger) afterClose(conn *dynamic.Conn, kind string) {
	f.Helper()
	const nowhere = "nowhere" // no real server serves this topic
	opens, stop := f.listen(wire.StreamServerChannel(f.wireName(streams), kind+"Topic", []string{nowhere}), bus.Broadcast)
	defer stop()
	client := newClient[*api.MyClientMessage, *api.MyServerMessage](f, conn, fullName(streams, kind+"Topic"), []string{nowhere})
	opened := make(chan generatedStream, 1)
	// This goroutine ends when the stream is open. afterClose waits for that below.
	go func() {
		stream, err := client.OpenStream(f.Context())
		assert.NoError(f, err)
		opened <- stream
	}()
	open, err := wire.ParseStream(soon(f, opens, "open").Value)
	require.NoError(f, err)
	f.send(wire.ClaimRequestChannel(f.wireName(streams), conn.ID()),
		&wire.ClaimRequest{RequestID: open.RequestID, ServerID: []byte(f.id), Affinity: 1})
	channel := wire.StreamClientChannel(f.wireName(streams), conn.ID())
	ack := open
	ack.Op, ack.Metadata, ack.Keepalive = wire.StreamAck, nil, 0
	for range 3 {
		f.send(channel, &ack)
	}
	stream := soon(f, opened, "stream")
	f.send(channel, f.stream(string(open.StreamID), wire.StreamClose))
	soon(f, stream.Context().Done(), "close")
	before := conn.Stats()
	sent := f.sendStreamFrames(channel, string(open.StreamID))
	f.eventually(func() uint64 { return conn.Stats().Unmatched - before.Unmatched }, sent, "frames of closed streams")
}

// testForgedFramesToServers is like testForgedFramesToClients, but sends the frames to the channels
// of a server.
func testForgedFramesToServers(t *testing.T, network Network) {
	w := newWorld(t, network)
	server := w.server()
	serveAll(w, server)
	f := newForger(w)
	frames, _ := f.listen(wire.StreamClientChannel(w.wireName(streams), f.id), bus.Broadcast)
	bad, unawaited := 0, 0
	for channel, kind := range map[wire.Channel]wire.Kind{
		wire.ClaimResponseChannel(w.wireName(calls), kindAffinity, nil):      wire.KindClaimResponse,
		wire.ClaimResponseChannel(w.wireName(streams), kindAffinity, nil):    wire.KindClaimResponse,
		wire.StreamServerChannel(w.wireName(streams), kindSingleServer, nil): wire.KindStream,
	} {
		for _, encoded := range forgedFrames(t, kind) {
			f.sendRaw(channel, encoded)
			if routable(encoded) {
				bad++
			}
		}
	}
	channel := wire.StreamServerChannel(w.wireName(streams), kindSingleServer, nil)
	unawaited += f.sendStreamFrames(channel, "STR_unknown")

	const streamID = "STR_forged"
	// The first frame opens the stream. The others are dropped, because they have the same stream
	// ID.
	for range 100 {
		f.send(channel, f.stream(streamID, wire.StreamOpen))
	}
	unawaited += 99
	ack, err := wire.ParseStream(soon(t, frames, "ack").Value)
	require.NoError(t, err)
	assert.Equal(t, wire.StreamAck, ack.Op)
	f.eventually(func() uint64 { return server.Stats().Unmatched }, unawaited, "opens of an open stream")
	f.send(channel, f.stream(streamID, wire.StreamClose))
	unawaited += f.sendStreamFrames(channel, streamID)
	f.eventually(func() uint64 { return server.Stats().BadFrames }, bad, "bad frames")
	f.eventually(func() uint64 { return server.Stats().Unmatched }, unawaited, "frames of unknown and closed streams")
	requireWorking(t, w.conn())
}
