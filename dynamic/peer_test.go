package dynamic_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// peer lets a test send and receive single frames, as a client or a server of test.Echoes would.
type peer struct {
	t   testing.TB
	bus bus.Bus
}

const (
	peerClient  = "CLI_peer"
	peerServer  = "SRV_peer"
	peerRequest = "REQ_peer00000000"
)

func requestChannel(method string) bus.Channel {
	return bus.Channel(wire.RequestChannel("Echoes", method, nil, method != "Best"))
}

func grantChannel(method string) bus.Channel {
	return bus.Channel(wire.ClaimResponseChannel("Echoes", method, nil))
}

func claimChannel(client string) bus.Channel {
	return bus.Channel(wire.ClaimRequestChannel("Echoes", client))
}

func responseChannel(client string) bus.Channel {
	return bus.Channel(wire.ResponseChannel("Echoes", client))
}

// listen subscribes to a channel until the test ends, and returns the frames that arrive on it.
func (p peer) listen(channel bus.Channel, join bus.Mode) <-chan wire.Envelope {
	p.t.Helper()
	envelopes := make(chan wire.Envelope, 10_000)
	subscription, err := p.bus.Subscribe(p.t.Context(), channel, join, func(frame []byte) {
		envelope, err := wire.ParseEnvelope(frame)
		if err != nil {
			p.t.Error(err)
			return
		}
		envelopes <- envelope
	})
	require.NoError(p.t, err)
	p.t.Cleanup(subscription.Close)
	return envelopes
}

// frame is any message of the wire protocol.
type frame interface {
	AppendFrame(dst []byte) ([]byte, error)
}

func encode(t testing.TB, message frame) []byte {
	t.Helper()
	encoded, err := message.AppendFrame(nil)
	require.NoError(t, err)
	return encoded
}

func (p peer) send(channel bus.Channel, message frame) {
	p.t.Helper()
	p.sendRaw(channel, encode(p.t, message))
}

func (p peer) sendRaw(channel bus.Channel, frame []byte) {
	p.t.Helper()
	require.NoError(p.t, p.bus.Publish(context.Background(), channel, frame, nil))
}

func encodedText(t testing.TB, body string) []byte {
	t.Helper()
	encoded, err := proto.Marshal(wrapperspb.String(body))
	require.NoError(t, err)
	return encoded
}

// newRequest returns a request with the fields that psrpc sets.
func newRequest(id, body string) *wire.Request {
	now := time.Now()
	return &wire.Request{
		RequestID: []byte(id), ClientID: []byte(peerClient),
		SentAt: now.UnixNano(), Expiry: now.Add(time.Minute).UnixNano(),
		Body: wire.Body{Message: wrapperspb.String(body)},
	}
}

func (p peer) nextClaim(from <-chan wire.Envelope) wire.ClaimRequest {
	p.t.Helper()
	claim, err := wire.ParseClaimRequest(requireSoon(p.t, from, "claim").Value)
	require.NoError(p.t, err)
	return claim
}

func (p peer) nextResponse(from <-chan wire.Envelope) wire.Response {
	p.t.Helper()
	response, err := wire.ParseResponse(requireSoon(p.t, from, "response").Value)
	require.NoError(p.t, err)
	return response
}

func (p peer) nextRequest(from <-chan wire.Envelope) wire.Request {
	p.t.Helper()
	request, err := wire.ParseRequest(requireSoon(p.t, from, "request").Value)
	require.NoError(p.t, err)
	return request
}

func (p peer) nextGrant(from <-chan wire.Envelope) wire.ClaimResponse {
	p.t.Helper()
	grant, err := wire.ParseClaimResponse(requireSoon(p.t, from, "grant").Value)
	require.NoError(p.t, err)
	return grant
}

// answer sends a response with a text to the client that sent the request.
func (p peer) answer(request wire.Request, body string) {
	p.t.Helper()
	p.send(responseChannel(string(request.ClientID)), &wire.Response{
		RequestID: request.RequestID, ServerID: []byte(peerServer), SentAt: time.Now().UnixNano(),
		Body: wire.Body{Message: wrapperspb.String(body)},
	})
}

// claim sends a claim of a server to the client that sent the request.
func (p peer) claim(request wire.Request, server string) {
	p.t.Helper()
	p.send(claimChannel(string(request.ClientID)), &wire.ClaimRequest{
		RequestID: request.RequestID, ServerID: []byte(server), Affinity: 1,
	})
}
