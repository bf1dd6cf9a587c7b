package conformance_test

import (
	"bytes"
	"compress/gzip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// The tests in this file check features of newer psrpc versions.

// A newer psrpc server may send its claim and run the request without waiting for a grant. A
// dynpsrpc client must accept its response, and the request must run only once.
func TestNewer_ServerSkipsClaim(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		var runs atomic.Int64
		s := m.peerServer()
		s.skipsClaim = true
		t.Cleanup(s.serve(m.work(), nil, counted(&runs)))
		c := m.client("Work")
		const calls = 50
		for range calls {
			response, err := c.Call(t.Context(), wrapperspb.String("x"))
			require.NoError(t, err)
			assert.Equal(t, "done", response.GetValue())
		}
		assert.EqualValues(t, calls, runs.Load())
	})
}

func counted(runs *atomic.Int64) handler {
	return func(string) (string, *failure) {
		runs.Add(1)
		return "done", nil
	}
}

// A newer psrpc client may permit a server to run a request without a grant. A dynpsrpc server must
// then run the request once and respond.
func TestNewer_ClientSkipsClaim(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		var runs atomic.Int64
		m.serve(dynamic.Handlers{"Work": handle(counted(&runs))})
		c := m.peerClient()
		c.skipsClaim = true
		const calls = 50
		for range calls {
			response, err := c.call(m.work(), "x", patience)
			require.Nil(t, err)
			assert.Equal(t, "done", response)
		}
		assert.EqualValues(t, calls, runs.Load())
	})
}

// A client permits the server to run a request without a grant, but then sends two grants. The
// dynpsrpc server must run the request only once. It must still send its claim, because older
// clients need it.
func TestNewer_ClientGrantsAllTheSame(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		var runs atomic.Int64
		m.serve(dynamic.Handlers{"Work": handle(counted(&runs))})
		c := m.peerClient()
		c.skipsClaim = true
		id := newID("REQ_")
		call, forget := c.await(id)
		defer forget()
		send(c.link, m.work().requests(), typeRequest, c.request(id, "x", m.work(), patience))
		claim, ok := soon(call.claims)
		require.True(t, ok)
		for range 2 {
			send(c.link, m.work().grants(), typeClaimResponse, message{}.
				withText(claimID, id).withText(claimServer, claim.text(claimServer)))
		}
		response, ok := soon(call.responses)
		require.True(t, ok)
		assert.Equal(t, "done", textOf(response.bytes(responseRaw)))
		// Further responses to the first call would arrive before this call ends.
		_, err := c.call(m.work(), "y", patience)
		require.Nil(t, err)
		assert.Empty(t, call.responses)
		assert.EqualValues(t, 2, runs.Load())
	})
}

// For an affinity method, the server must wait until the client has selected a server. This applies
// even if the request permits the server to run it without a grant.
func TestNewer_AffinityIsClaimed(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		var runs atomic.Int64
		m.serve(dynamic.Handlers{"Best": handle(counted(&runs))})
		c := m.peerClient()
		c.skipsClaim = true
		id := newID("REQ_")
		call, forget := c.await(id)
		defer forget()
		send(c.link, m.best().requests(), typeRequest, c.request(id, "x", m.best(), patience))
		claim, ok := soon(call.claims)
		require.True(t, ok)
		select {
		case <-call.responses:
			assert.Fail(t, "the request was run without a grant")
		case <-time.After(50 * time.Millisecond):
		}
		send(c.link, m.best().grants(), typeClaimResponse, message{}.
			withText(claimID, id).withText(claimServer, claim.text(claimServer)))
		_, ok = soon(call.responses)
		require.True(t, ok)
		assert.EqualValues(t, 1, runs.Load())
	})
}

// compressing is a link that compresses the value of each published envelope.
type compressing struct{ link }

func (l compressing) publish(a address, payload []byte) {
	envelope, _ := parseMessage(payload)
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, _ = w.Write(envelope.bytes(envelopeValue))
	_ = w.Close()
	envelope = envelope.with(envelopeValue, func(f *field) { f.bytes = compressed.Bytes() })
	l.link.publish(a, envelope.encode())
}

// Compressed frames of clients, servers and publishers must be understood.
func TestNewer_CompressedFrames(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		compressed := newMixed(t, compressingBroker{b})
		t.Run("from clients", func(t *testing.T) {
			m := newMixed(t, compressingBroker{b})
			m.serveKinds(0.25, 0.75)
			m.peerCallsKinds()
		})
		t.Run("from servers", func(t *testing.T) {
			m := newMixed(t, compressingBroker{b})
			m.peersServeKinds(0.25, 0.75)
			m.callKinds()
		})
		t.Run("from publishers", func(t *testing.T) {
			subscription, err := compressed.client("Jobs").Subscribe(t.Context())
			require.NoError(t, err)
			send(compressed.broker.link(t), compressed.jobs().requests(), "google.protobuf.StringValue", message{}.withText(1, "update"))
			update, ok := soon(subscription.Channel())
			require.True(t, ok)
			assert.Equal(t, "update", update.GetValue())
		})
	})
}

// compressingBroker is a broker on which the reference peer compresses all frames that it sends.
type compressingBroker struct{ broker }

func (b compressingBroker) link(t testing.TB) link { return compressing{b.broker.link(t)} }
