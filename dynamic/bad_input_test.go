package dynamic_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// echoWorld returns a server whose three text methods return their request, and a peer that sends
// frames to it.
func echoWorld(t testing.TB) (*world, peer) {
	t.Helper()
	w := newWorld(t)
	handler := dynamic.Unary(echoHandler)
	w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler, "Best": handler})
	// Creating a client makes the conn subscribe to its channels.
	textClient(t, w.conn, echo)
	return w, peer{t, w.bus}
}

// servedChannels returns the channels on which a server or a client of test.Echoes listens. The
// key is the kind of frame that belongs on the channel.
func servedChannels() map[wire.Kind]bus.Channel {
	return map[wire.Kind]bus.Channel{
		wire.KindRequest:       requestChannel("Echo"),
		wire.KindClaimResponse: grantChannel("Echo"),
		wire.KindClaimRequest:  claimChannel("CLI_test"),
		wire.KindResponse:      responseChannel("CLI_test"),
	}
}

// validFrames returns a valid frame of each kind. The IDs in the frames belong to no request,
// server or client.
func validFrames(t testing.TB) map[wire.Kind][]byte {
	t.Helper()
	id, server := []byte("REQ_nobody000000"), []byte("SRV_nobody")
	request := newRequest(string(id), "hi")
	request.Metadata = map[string]string{"key": "value"}
	detail, err := anypb.New(wrapperspb.String("detail"))
	require.NoError(t, err)
	return map[wire.Kind][]byte{
		wire.KindRequest:       encode(t, request),
		wire.KindClaimResponse: encode(t, &wire.ClaimResponse{RequestID: id, ServerID: server}),
		wire.KindClaimRequest:  encode(t, &wire.ClaimRequest{RequestID: id, ServerID: server, Affinity: 1}),
		wire.KindResponse: encode(t, &wire.Response{
			RequestID: id, ServerID: server, SentAt: 1, Error: "error", Code: "code", Details: []*anypb.Any{detail},
		}),
		wire.KindStream:  encode(t, &wire.Stream{StreamID: id, RequestID: id, Expiry: math.MaxInt64, Op: wire.StreamAck}),
		wire.KindUnknown: encodedMessage(t),
	}
}

func encodedMessage(t testing.TB) []byte {
	t.Helper()
	frame, err := wire.AppendMessageFrame(nil, wire.Body{Message: wrapperspb.String("hi")}, "google.protobuf.StringValue", 0)
	require.NoError(t, err)
	return frame
}

// badFrames returns the number of bad frames that the server and the conn have counted.
func (w *world) badFrames() uint64 { return w.server.Stats().BadFrames + w.conn.Stats().BadFrames }

// TestBadInput_WrongInnerType sends frames on channels that are meant for another kind of frame.
// Such a frame crashes a psrpc process, but here it must only be counted.
func TestBadInput_WrongInnerType(t *testing.T) {
	t.Parallel()
	w, p := echoWorld(t)
	want := uint64(0)
	for wanted, channel := range servedChannels() {
		for kind, frame := range validFrames(t) {
			if kind == wanted {
				continue
			}
			p.sendRaw(channel, frame)
			want++
			assert.Equal(t, want, w.badFrames(), "kind %d on channel %s", kind, channel)
		}
	}
	w.requireWorking(t)
	assert.Equal(t, want, w.badFrames())
}

func TestBadInput_TruncatedFrames(t *testing.T) {
	t.Parallel()
	w, p := echoWorld(t)
	frames := validFrames(t)
	for kind, channel := range servedChannels() {
		for length := range frames[kind] {
			p.sendRaw(channel, frames[kind][:length])
		}
	}
	assert.NotZero(t, w.server.Stats().BadFrames)
	assert.NotZero(t, w.conn.Stats().BadFrames)
	w.requireWorking(t)
}

// TestBadInput_DamagedInnerMessages sends valid envelopes whose content cannot be decoded.
func TestBadInput_DamagedInnerMessages(t *testing.T) {
	t.Parallel()
	w, p := echoWorld(t)
	names := map[wire.Kind]string{
		wire.KindRequest: "internal.Request", wire.KindClaimResponse: "internal.ClaimResponse",
		wire.KindClaimRequest: "internal.ClaimRequest", wire.KindResponse: "internal.Response",
	}
	want := uint64(0)
	for kind, channel := range servedChannels() {
		for _, value := range [][]byte{
			{0xff},                         // there is no field tag
			{0x0a, 0x05, 'a'},              // a string that is shorter than its length says
			{0x0a, 0x01, 0xff},             // a string that is not UTF-8
			{0x00},                         // the field number is 0
			bytes.Repeat([]byte{0x80}, 11), // a varint without an end
		} {
			p.sendRaw(channel, envelope(names[kind], value))
			want++
			assert.Equal(t, want, w.badFrames(), "%x on channel %s", value, channel)
		}
	}
	w.requireWorking(t)
}

func envelope(typeName string, value []byte) []byte {
	var frame []byte
	frame = protowire.AppendTag(frame, 1, protowire.BytesType)
	frame = protowire.AppendString(frame, "type.googleapis.com/"+typeName)
	frame = protowire.AppendTag(frame, 2, protowire.BytesType)
	return protowire.AppendBytes(frame, value)
}

// TestBadInput_RandomFrames sends random bytes, and valid frames in which some bytes were changed.
func TestBadInput_RandomFrames(t *testing.T) {
	t.Parallel()
	w, p := echoWorld(t)
	// Some of the random frames are requests whose grants never arrive. Unlike Shutdown, Kill does
	// not wait for these grants.
	t.Cleanup(w.server.Kill)
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(frame []byte, positions int) []byte {
		for range positions {
			frame[random.IntN(len(frame))] = byte(random.Uint32())
		}
		return frame
	}
	for _, valid := range validFrames(t) {
		for range 100 {
			for _, channel := range servedChannels() {
				p.sendRaw(channel, noise(make([]byte, 1+random.IntN(200)), 400))
				p.sendRaw(channel, noise(bytes.Clone(valid), 1+random.IntN(5)))
			}
		}
	}
	assert.NotZero(t, w.server.Stats().BadFrames)
	assert.NotZero(t, w.conn.Stats().BadFrames)
	w.requireWorking(t)
}

func FuzzFrames(f *testing.F) {
	for _, frame := range validFrames(f) {
		for _, length := range []int{len(frame), len(frame) / 2, len(frame) - 1} {
			f.Add(frame[:length])
		}
	}
	f.Add([]byte{})
	w, _ := echoWorld(f)
	// Some of the fuzzed frames are requests whose grants never arrive. Unlike Shutdown, Kill does
	// not wait for these grants.
	f.Cleanup(w.server.Kill)
	f.Fuzz(func(t *testing.T, frame []byte) {
		p := peer{t, w.bus}
		for _, channel := range servedChannels() {
			p.sendRaw(channel, frame)
		}
		response, err := w.call(t, echo, "still here")
		require.NoError(t, err)
		require.Equal(t, "still here", response)
	})
}

func TestServer_ExpiredRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			expiry  int64
			expired bool
		}{
			{"long ago", 1, true},
			{"absent", 0, true},
			{"negative", -1, true},
			{"as early as can be", math.MinInt64, true},
			{"now", time.Now().UnixNano(), true},
			{"in a nanosecond", time.Now().UnixNano() + 1, false},
			{"as late as can be", math.MaxInt64, false},
		} {
			c := newClaimed(t)
			request := newRequest(peerRequest, "hi")
			request.Expiry, request.SentAt = tt.expiry, 0
			c.send(requestChannel("Direct"), request)
			synctest.Wait()
			if tt.expired {
				assert.EqualValues(t, 1, c.world.server.Stats().Expired, tt.name)
				assert.Zero(t, c.runs.Load(), tt.name)
				assert.Empty(t, c.responses, tt.name)
			} else {
				assert.Zero(t, c.world.server.Stats().Expired, tt.name)
				assert.EqualValues(t, 1, c.runs.Load(), tt.name)
			}
			assert.Zero(t, c.world.server.Stats().BadFrames, tt.name)
		}
	})
}

func TestServer_OddIDs(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"empty": "", "huge": strings.Repeat("x", 1<<17), "dots and spaces": " a.b|c*>\n", "emoji": "\U0001f680",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := echoWorld(t)
			responses := p.listen(responseChannel(id), bus.Broadcast)
			claims := p.listen(claimChannel(id), bus.Broadcast)
			for _, method := range []string{"Direct", "Echo"} {
				request := newRequest(id, "hi")
				request.ClientID = []byte(id)
				p.send(requestChannel(method), request)
				if method == "Echo" {
					claim := p.nextClaim(claims)
					assert.Equal(t, id, string(claim.RequestID))
					p.send(grantChannel(method), &wire.ClaimResponse{RequestID: []byte(id), ServerID: claim.ServerID})
				}
				response := p.nextResponse(responses)
				assert.Equal(t, id, string(response.RequestID))
				assert.Equal(t, encodedText(t, "hi"), response.Body.Raw)
			}
			w.requireWorking(t)
		})
	}
}

func TestConn_ForgedResponses(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 1000} {
		c := startCall(t, "Direct")
		for range n {
			c.answer(c.request, "forged")
		}
		c.requireResponse("forged")
		assert.EqualValues(t, n-1, c.conn.Stats().Unmatched)
		c.answer(c.request, "late")
		assert.EqualValues(t, n, c.conn.Stats().Unmatched)
		assert.Zero(t, c.conn.Stats().BadFrames)
		requireNextCallWorks(c)
	}
}

func TestConn_FloodOfClaims(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Echo", "Best"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			c := startCall(t, method)
			for range 1500 {
				c.claim(c.request, peerServer)
			}
			assert.NotZero(t, c.conn.Stats().Unmatched)
			c.nextGrant(c.grants)
			c.answer(c.request, "bye")
			c.requireResponse("bye")
			assert.Empty(t, c.grants, "granted more than once")
			requireNextCallWorks(c)
		})
	}
}

// requireNextCallWorks checks that the next call of the client succeeds. The test itself responds
// in place of a server.
func requireNextCallWorks(c *calling) {
	c.t.Helper()
	requests := c.listen(requestChannel("Repeat"), bus.Broadcast)
	done := make(chan error, 1)
	go func() { // this goroutine ends with the call
		_, err := dynamic.Invoke(c.t.Context(), c.conn, repeat, nil)
		done <- err
	}()
	c.answer(c.nextRequest(requests), "")
	require.NoError(c.t, requireSoon(c.t, done, "the next call"))
}

func TestConn_AnswersForNobody(t *testing.T) {
	t.Parallel()
	w, p := echoWorld(t)
	want := uint64(0)
	for _, id := range []string{"", "REQ_", "REQ_nobody000000", strings.Repeat("x", 1<<20)} {
		p.send(responseChannel("CLI_test"), &wire.Response{RequestID: []byte(id), ServerID: []byte("SRV_test")})
		p.send(claimChannel("CLI_test"), &wire.ClaimRequest{RequestID: []byte(id), ServerID: []byte("SRV_test")})
		want += 2
	}
	assert.Equal(t, dynamic.ConnStats{Unmatched: want}, w.conn.Stats())
	w.requireWorking(t)
}

// TestServer_FloodOfGrants checks that a server handles a request once even if it receives a
// thousand grants for the request. A psrpc server hangs forever if three grants arrive at the same
// time.
func TestServer_FloodOfGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		c.send(requestChannel("Echo"), newRequest(peerRequest, "hi"))
		c.nextClaim(c.claims)
		for range 1000 {
			c.grant("Echo", peerRequest, "SRV_test")
			c.grant("Echo", "REQ_unknown00000", "SRV_test")
		}
		c.requireRanOnce("hi")
	})
}

// TestServer_IdenticalRequests checks that a request frame which the bus delivers several times is
// handled once. A psrpc server ensures this only on Redis.
func TestServer_IdenticalRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			method             string
			skip, acceptDirect bool
		}{
			{"Direct", false, false}, {"Echo", true, false}, {"Echo", false, true},
		} {
			c := newClaimed(t)
			request := newRequest(peerRequest, "hi")
			request.SkipClaim, request.AcceptDirect = tt.skip, tt.acceptDirect
			frame := encode(t, request)
			for range 3 {
				c.sendRaw(requestChannel(tt.method), frame)
			}
			c.nextResponse(c.responses)
			<-time.After(time.Second)
			c.sendRaw(requestChannel(tt.method), frame)
			synctest.Wait()
			assert.Empty(t, c.responses)
			assert.EqualValues(t, 1, c.runs.Load(), tt)
			assert.Equal(t, dynamic.ServerStats{Duplicated: 3}, c.world.server.Stats())
			assert.LessOrEqual(t, len(c.claims), 1)

			<-time.After(5 * time.Second)
			c.sendRaw(requestChannel(tt.method), frame)
			c.nextResponse(c.responses)
			assert.EqualValues(t, 2, c.runs.Load(), "as after the time of psrpc's locks on Redis")
			request.SentAt++ // now it is a different request, although it has the same ID
			c.send(requestChannel(tt.method), request)
			c.nextResponse(c.responses)
			assert.EqualValues(t, 3, c.runs.Load(), tt)
		}
	})
}
