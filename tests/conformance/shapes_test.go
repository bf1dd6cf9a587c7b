package conformance_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// shape describes an unusual encoding of a request, and the responses that it must cause.
type shape struct {
	name     string
	envelope func(message) message // changes the envelope unless nil
	request  func(message) message // changes the request unless nil
	raw      []byte                // the whole frame, if it is not nil
	want     []string              // the expected responses
}

// without returns a function that removes all fields with the given number.
func without(number protowire.Number) func(message) message {
	return func(m message) message {
		return slices.DeleteFunc(slices.Clone(m), func(f field) bool { return f.number == number })
	}
}

// withValue returns a function that replaces the value of all fields with the given number.
func withValue(number protowire.Number, value string) func(message) message {
	return func(m message) message { return m.with(number, func(f *field) { f.bytes = []byte(value) }) }
}

func withRoutingKey(key string) func(message) message {
	return func(m message) message { return without(envelopeKey)(m).withText(envelopeKey, key) }
}

func shapes(isNATS bool) []shape {
	plain, empty := []string{"ours x"}, []string{"ours "}
	needsKey := plain
	if isNATS {
		needsKey = nil
	}
	return []shape{
		{name: "plain", want: plain},
		{name: "fields in reverse order", want: plain, envelope: func(m message) message {
			m = slices.Clone(m)
			slices.Reverse(m)
			return m
		}},
		{name: "type without prefix", want: plain, envelope: withValue(envelopeType, typeRequest)},
		{name: "type after a slash", want: plain, envelope: withValue(envelopeType, "/"+typeRequest)},
		{name: "type with another prefix", want: plain, envelope: withValue(envelopeType, "example.com/x/"+typeRequest)},
		{name: "type of another package", envelope: withValue(envelopeType, typeURLPrefix+"psrpc.Request")},
		{name: "unknown type", envelope: withValue(envelopeType, typeURLPrefix+"no.Such")},
		{name: "no type", envelope: without(envelopeType)},
		{name: "garbage in the value", envelope: withValue(envelopeValue, "\xff\xff\xff")},
		{name: "garbage", raw: []byte("\xff\xff\xff")},
		{name: "empty frame", raw: []byte{}},
		{name: "no routing key", want: needsKey, envelope: without(envelopeKey)},
		{name: "another routing key", want: needsKey, envelope: withRoutingKey("NoSuch.REQ")},

		{name: "no time of sending", want: plain, request: without(requestSentAt)},
		{name: "not for all", want: plain, request: without(requestMulti)},
		{name: "body in field 6", want: empty, request: func(m message) message {
			return without(requestRaw)(m).withBytes(6, m.bytes(requestRaw))
		}},
		{name: "no expiry", request: without(requestExpiry)},
		{name: "no client", request: without(requestClient)},
		{name: "expired", request: func(m message) message {
			past := uint64(time.Now().Add(-time.Second).UnixNano())
			m = m.with(requestExpiry, func(f *field) { f.bits = past })
			return m.with(requestSentAt, func(f *field) { f.bits = past - 1 })
		}},
	}
}

// A dynpsrpc server must respond to the unusual requests to which psrpc servers respond. It must
// drop all others, and must still be able to serve the next request.
func TestShapes_OfRequests(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		m.serve(dynamic.Handlers{"Each": handle(echo("ours"))})
		c := m.peerClient()
		_, isNATS := b.(natsBroker)
		for _, s := range shapes(isNATS) {
			id := newID("REQ_")
			call, forget := c.await(id)
			c.link.publish(m.each().requests(), s.payload(c, id, m.each()))
			// The response to this later request arrives after the response to the first one.
			assert.Len(t, c.callMulti(m.each(), "last", 1), 1, s.name)
			var got []string
			for s.want != nil && len(got) == 0 {
				answer, ok := soon(call.responses)
				require.True(t, ok, s.name)
				got = append(got, textOf(answer.bytes(responseRaw)))
			}
			assert.Equal(t, s.want, got, s.name)
			assert.Empty(t, call.responses, s.name)
			forget()
		}
	})
}

func (s shape) payload(c *peerClient, id string, m method) []byte {
	if s.raw != nil {
		return s.raw
	}
	request := c.request(id, "x", m, patience)
	if s.request != nil {
		request = s.request(request)
	}
	payload := pack(typeRequest, request, c.link.key(m.requests()))
	if s.envelope == nil {
		return payload
	}
	envelope, _ := parseMessage(payload)
	return s.envelope(envelope).encode()
}

// A client of a queue method must accept a claim with any affinity. A client of an affinity method
// must accept only an affinity greater than 0. psrpc clients do the same.
func TestShapes_OfClaims(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		nan := float32(math.NaN())
		for affinity, wins := range map[*float32]bool{
			new(float32(2)): true, new(float32(1e-30)): true, new(float32(0)): false, new(float32(-1)): false, &nan: false,
		} {
			m := newMixed(t, b)
			l := b.link(t)
			for _, method := range []method{m.work(), m.best()} {
				l.listen(method.requests(), method.queue, func(f frame) {
					send(l, clientAddress(m.name, f.inner.text(requestClient), "CLAIM"), typeClaimRequest, message{}.
						withText(claimID, f.inner.text(requestID)).withText(claimServer, "SRV_x").withFloat(claimAffinity, *affinity))
				})
				l.listen(method.grants(), false, func(f frame) {
					send(l, clientAddress(m.name, clientOfGrant, "RES"), typeResponse,
						message{}.withText(responseID, f.inner.text(claimID)).withText(responseServer, "SRV_x"))
				})
			}
			conn := m.conn(dynamic.WithClientID(clientOfGrant))
			for name, want := range map[string]bool{"Work": true, "Best": wins} {
				_, err := m.clientOn(conn, name).Call(t.Context(), wrapperspb.String("x"))
				if want {
					assert.NoError(t, err, "%s %v", name, *affinity)
				} else {
					assert.Equal(t, coded("unavailable", "no servers available (received 1 responses)"), errorOutcome(err))
				}
			}
		}
	})
}

// clientOfGrant is the ID of the client. The server needs a fixed ID, because a grant does not
// contain the ID of the client that sent it.
const clientOfGrant = "CLI_OnlyOne"

// A server whose claim was not accepted responds anyway. The client must ignore this response, and
// the call must fail because no server was selected.
func TestShapes_AnswerOfServerThatWasNotChosen(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		l := b.link(t)
		l.listen(m.best().requests(), false, func(f frame) {
			id, client := f.inner.text(requestID), f.inner.text(requestClient)
			send(l, clientAddress(m.name, client, "CLAIM"), typeClaimRequest,
				// A server that claims with an affinity of 0 is never selected.
				message{}.withText(claimID, id).withText(claimServer, "SRV_x"))
			send(l, clientAddress(m.name, client, "RES"), typeResponse,
				message{}.withText(responseID, id).withText(responseServer, "SRV_x").withBytes(responseRaw, text("unwanted")))
		})
		// This subscription stands for a second server, which might still send a claim.
		b.link(t).listen(m.best().requests(), false, func(frame) {})
		_, err := m.client("Best").Call(t.Context(), wrapperspb.String("x"))
		assert.Equal(t, coded("unavailable", "no servers available (received 1 responses)"), errorOutcome(err))
	})
}
