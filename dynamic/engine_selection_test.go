package dynamic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// goCall calls Best in a goroutine, which ends when the call ends.
func (w *world) goCall(t testing.TB) <-chan callResult {
	t.Helper()
	client, done := textClient(t, w.conn, best), make(chan callResult, 1)
	go func() {
		response, err := client.Call(t.Context(), wrapperspb.String("x"))
		done <- callResult{response, err}
	}()
	return done
}

// On a bus that does not report how many servers received a request, the client selects the first
// server that claims the request. If a better server claims it later, the client waits for that
// server in the next calls.
func TestAffinity_SlowBetterServerIsLearnedOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, _ bus.DeliveryReport) error {
			return b.Bus.Publish(ctx, channel, frame, nil)
		}
		w := newWorldOn(t, b)
		start := func(id string, affinity float32, delay time.Duration) {
			server := dynamic.NewServer(b, dynamic.WithServerID(id))
			t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
			_, err := server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{"Best": dynamic.Unary(
				func(context.Context, text) (text, error) { return wrapperspb.String(id), nil },
				dynamic.WithAffinity(func(context.Context, text) float32 {
					<-time.After(delay)
					return affinity
				}))}, dynamic.AllowMissing())
			require.NoError(t, err)
		}
		start("fast", 0.1, 0)
		response, err := w.call(t, best, "x")
		require.NoError(t, err)
		require.Equal(t, "fast", response)
		start("better", 1, 5*time.Millisecond)
		for range 10 {
			response, err = w.call(t, best, "x")
			require.NoError(t, err)
			<-time.After(20 * time.Millisecond) // wait until the late claim has arrived
		}
		assert.Equal(t, "better", response)
	})
}

// A claimed request that waits for its grant does not count as a running request.
func TestServer_OffersDoNotCountAsRunning(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, bus.NewLocal(), dynamic.WithMaxConcurrentRequests(1))
	p := peer{t, w.bus}
	w.serve(t, dynamic.Handlers{"Best": identity[text](), "Direct": identity[text]()})
	claims := p.listen(claimChannel(peerClient), bus.Broadcast)
	p.send(requestChannel("Best"), newRequest(peerRequest, "x"))
	p.nextClaim(claims) // the claim is never granted
	_, err := w.call(t, direct, "x")
	require.NoError(t, err)
}

// The bus may report the number of receivers only after all of them have claimed the request. The
// client then selects a server as soon as the report arrives.
func TestAffinity_ReportAfterTheClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b)
		w.serve(t, dynamic.Handlers{"Best": identity[text]()})
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if report != nil {
				time.AfterFunc(10*time.Millisecond, func() { report.Delivered(1, nil) })
			}
			return b.Bus.Publish(ctx, channel, frame, nil)
		}
		start := time.Now()
		_, err := w.call(t, best, "x")
		require.NoError(t, err)
		assert.Equal(t, 10*time.Millisecond, time.Since(start))
	})
}

// If the bus reports that a request had no receivers although a server has claimed it, the report
// is wrong, and the call continues.
func TestAffinity_ReportOfNoReceiversAfterTheGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b)
		p := peer{t, b.Bus}
		requests := p.listen(requestChannel("Best"), bus.Broadcast)
		grants := p.listen(grantChannel("Best"), bus.Broadcast)
		reports := make(chan bus.DeliveryReport, 1)
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if channel == requestChannel("Best") {
				reports <- report
			}
			return b.Bus.Publish(ctx, channel, frame, nil)
		}
		done := w.goCall(t)
		request := p.nextRequest(requests)
		p.claim(request, peerServer)
		p.nextGrant(grants)
		requireSoon(t, reports, "request's report").Delivered(0, nil)
		synctest.Wait() // wait until the call has seen the report
		p.answer(request, "ok")
		result := <-done
		require.NoError(t, result.err)
		assert.Equal(t, "ok", result.response.GetValue())
	})
}

// If the SelectionFunc returns an error, the call returns it. The client cancels the request, and
// tells the servers that have claimed it that none of them is selected.
func TestAffinity_SelectionFuncFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b)
		w.serve(t, dynamic.Handlers{"Best": identity[text]()})
		_, err := w.call(t, best, "x", dynamic.WithSelectionOpts(dynamic.SelectionOpts{
			AffinityTimeout: 20 * time.Millisecond,
			SelectionFunc: func([]*dynamic.Claim) (string, error) {
				return "", errors.NewErrorf(errors.NotFound, "no such room")
			},
		}))
		requireCode(t, errors.NotFound, err)
		kinds := b.sentKinds(t)
		assert.Equal(t, []wire.Kind{wire.KindCancel, wire.KindClaimResponse}, kinds[len(kinds)-2:])
	})
}

// A server may respond with an error before any server has claimed the request. If no claim
// follows, the call returns that error at its timeout.
func TestAffinity_ErrorResponseIsKeptUntilTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startCall(t, "Best", dynamic.WithRequestTimeout(100*time.Millisecond))
		c.send(responseChannel("CLI_test"), &wire.Response{
			RequestID: c.request.RequestID, ServerID: []byte(peerServer), Code: "permission_denied", Error: "no",
		})
		requireCode(t, errors.PermissionDenied, c.requireError())
	})
}

// A server that is killed while it declines a request sends no error, because another server may
// accept the request.
func TestServer_KilledWhileDecliningKeepsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := peer{t, w.bus}
		asked := make(chan struct{}, 1)
		decline := func(context.Context, text) float32 {
			w.server.Kill()
			asked <- struct{}{}
			return -1
		}
		w.serve(t, dynamic.Handlers{"Best": dynamic.Unary(echoHandler, dynamic.WithAffinity(decline))})
		responses := p.listen(responseChannel(peerClient), bus.Broadcast)
		p.send(requestChannel("Best"), newRequest(peerRequest, "x"))
		<-asked
		synctest.Wait()
		assert.Empty(t, responses)
	})
}

// A server that was not selected may be killed before it receives the grant for another server.
// This must not end the call, which the other server handles.
func TestServer_KilledLoserDoesNotEndTheWinnersCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b)
		p := peer{t, b.Bus}
		w.serve(t, dynamic.Handlers{"Best": dynamic.Unary(echoHandler,
			dynamic.WithAffinity(func(context.Context, text) float32 { return 0.5 }))})
		requests := p.listen(requestChannel("Best"), bus.Broadcast)
		grants := p.listen(grantChannel("Best"), bus.Broadcast)
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if channel.Name == grantChannel("Best").Name {
				w.server.Kill()
				synctest.Wait() // wait until Kill has sent whatever it sends
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		done := w.goCall(t)
		request := p.nextRequest(requests)
		p.claim(request, peerServer)
		require.Equal(t, peerServer, string(p.nextGrant(grants).ServerID))
		synctest.Wait()
		p.answer(request, "won")
		result := <-done
		require.NoError(t, result.err)
		assert.Equal(t, "won", result.response.GetValue())
	})
}

// The bus counts two servers on one connection as one receiver. psrpc servers do not report how
// many of them share a connection. When a second response arrives late, the client learns that
// there are two, and later multi calls wait for both.
func TestMulti_ServersThatShareAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			err := b.Bus.Publish(ctx, channel, frame, nil)
			if report != nil {
				report.Delivered(1, nil)
			}
			return err
		}
		w := newWorldOn(t, b)
		for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
			server := dynamic.NewServer(b)
			t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
			_, err := server.Register(descriptor(t, w.registry, "test.Kinds"), dynamic.Handlers{"All": dynamic.Raw(
				func(context.Context, *registry.Method, []byte) ([]byte, error) {
					<-time.After(delay)
					return nil, nil
				})}, dynamic.AllowMissing())
			require.NoError(t, err)
		}
		for i := range 5 {
			responses, err := dynamic.InvokeMulti(t.Context(), w.conn, "test.Kinds/All", nil,
				dynamic.WithRequestTimeout(200*time.Millisecond))
			require.NoError(t, err)
			count := 0
			for range responses {
				count++
			}
			if i > 0 {
				assert.Equal(t, 2, count, "call %d", i)
			}
			<-time.After(50 * time.Millisecond) // wait until the late response has arrived
		}
	})
}
