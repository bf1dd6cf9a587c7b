package conformance_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// This test publishes messages of a wrong type on every channel. Such a message crashes a psrpc
// process, but dynpsrpc must drop it and continue to work.
func TestAbuse_WrongTypes(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m, feed := newMixed(t, b), newMixed(t, b)
		m.serveKinds(0.25, 0.75)
		conn := m.conn(dynamic.WithClientID("CLI_Ours"))
		work := m.clientOn(conn, "Work")
		subscription, err := feed.client("Jobs").Subscribe(t.Context())
		require.NoError(t, err)

		l := b.link(t)
		requests := []address{m.work().requests(), m.best().requests(), m.each().requests()}
		for _, a := range append([]address{
			feed.jobs().requests(), m.work().grants(), m.talk().streams(),
			clientAddress(m.name, "CLI_Ours", "CLAIM"), clientAddress(m.name, "CLI_Ours", "RES"),
			clientAddress(m.name, "CLI_Ours", "STR"),
		}, requests...) {
			for _, typeName := range []string{
				typeRequest, typeResponse, typeClaimRequest, typeClaimResponse, typeStream, "google.protobuf.BytesValue",
			} {
				if typeName != typeRequest || !slices.Contains(requests, a) {
					send(l, a, typeName, message{}.withText(1, "x").withText(2, fmt.Sprint(a, typeName)))
				}
			}
		}
		send(l, feed.jobs().requests(), "google.protobuf.StringValue", message{}.withText(1, "right"))
		update, ok := soon(subscription.Channel())
		require.True(t, ok)
		assert.Equal(t, "right", update.GetValue())
		_, err = work.Call(t.Context(), wrapperspb.String("x"))
		require.NoError(t, err)
		m.callKinds()
	})
}

// This test sends bursts of identical responses, claims and grants. Such a burst blocks a psrpc
// peer forever, but dynpsrpc must accept the first frame and ignore the others.
func TestAbuse_Bursts(t *testing.T) {
	t.Parallel()
	const rounds, burst = 10, 20
	onEachBroker(t, func(t *testing.T, b broker) {
		t.Run("responses and claims", func(t *testing.T) {
			m := newMixed(t, b)
			l := b.link(t)
			l.listen(m.work().requests(), true, func(f frame) {
				id, to := f.inner.text(requestID), f.inner.text(requestClient)
				for range burst {
					send(l, clientAddress(m.name, to, "CLAIM"), typeClaimRequest,
						message{}.withText(claimID, id).withText(claimServer, "SRV_x").withFloat(claimAffinity, 1))
				}
				for range burst {
					send(l, clientAddress(m.name, to, "RES"), typeResponse,
						message{}.withText(responseID, id).withText(responseServer, "SRV_x").withBytes(responseRaw, text(id)))
				}
			})
			c := m.client("Work")
			seen := map[string]bool{}
			for range rounds {
				response, err := c.Call(t.Context(), wrapperspb.String("x"))
				require.NoError(t, err)
				seen[response.GetValue()] = true
			}
			assert.Len(t, seen, rounds, "each call has its own answer")
		})
		t.Run("grants", func(t *testing.T) {
			m := newMixed(t, b)
			m.serve(dynamic.Handlers{"Work": handle(echo("ours"))})
			c := m.peerClient()
			for range rounds {
				id := newID("REQ_")
				call, forget := c.await(id)
				send(c.link, m.work().requests(), typeRequest, c.request(id, "x", m.work(), patience))
				claim, ok := soon(call.claims)
				require.True(t, ok)
				for range burst {
					send(c.link, m.work().grants(), typeClaimResponse,
						message{}.withText(claimID, id).withText(claimServer, claim.text(claimServer)))
				}
				_, ok = soon(call.responses)
				require.True(t, ok)
				// The server handles this second call after all the grants above. Further responses
				// to the first call would arrive before the second call ends.
				_, failed := c.call(m.work(), "y", patience)
				require.Nil(t, failed)
				assert.Empty(t, call.responses, "more than one answer")
				forget()
			}
		})
	})
}
