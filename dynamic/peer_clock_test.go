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
)

// skewedBus is the bus of a client whose clock is wrong. It shifts all times in the client's
// requests by the duration ahead.
type skewedBus struct {
	bus.Bus

	ahead time.Duration
}

func (b skewedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if envelope, err := wire.ParseEnvelope(frame); err == nil && envelope.Kind == wire.KindRequest {
		request, err := wire.ParseRequest(envelope.Value)
		if err != nil {
			return err
		}
		request.SentAt += b.ahead.Nanoseconds()
		request.Expiry += b.ahead.Nanoseconds()
		if frame, err = request.AppendFrame(nil); err != nil {
			return err
		}
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

func TestServer_ClientWhoseClockIsOff(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Second
	for _, ahead := range []time.Duration{-time.Hour, -10 * time.Second, 10 * time.Second, time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				remaining := make(chan time.Duration, 1)
				handler := dynamic.Unary(func(ctx context.Context, request text) (text, error) {
					deadline, _ := ctx.Deadline()
					remaining <- time.Until(deadline)
					return request, nil
				})
				w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler})
				conn, err := dynamic.NewConn(skewedBus{w.bus, ahead}, w.registry, dynamic.WithClientID("CLI_skewed"))
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, conn.Close()) })
				// From the first call, the server learns how far off the client's clock is.
				for _, method := range []string{echo, echo, direct, direct} {
					_, err := textClient(t, conn, method).Call(t.Context(), wrapperspb.String("hi"), dynamic.WithRequestTimeout(timeout))
					require.NoError(t, err, method)
					assert.Equal(t, timeout, <-remaining, method)
				}
			})
		})
	}
}

// If a client's clock is slow, its first request looks expired to the server. Because the method
// needs no claim, the server cannot find out that the request is not late.
func TestServer_FirstRequestWithoutClaimOfASlowClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, dynamic.Handlers{"Direct": identity[text]()})
		conn, err := dynamic.NewConn(skewedBus{w.bus, -time.Hour}, w.registry)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		client := textClient(t, conn, direct)
		_, err = client.Call(t.Context(), wrapperspb.String("hi"), dynamic.WithRequestTimeout(time.Second))
		requireCode(t, errors.DeadlineExceeded, err)
		assert.EqualValues(t, 1, w.server.Stats().Expired)
		_, err = client.Call(t.Context(), wrapperspb.String("hi"))
		require.NoError(t, err)
	})
}

// Requests that the bus delivers long after they were sent are not run. This applies to the first
// request of a client and to later ones.
func TestServer_LateRequestsAreNotRun(t *testing.T) {
	t.Parallel()
	for _, punctualFirst := range []bool{false, true} {
		w := newWorld(t)
		p := peer{t, w.bus}
		ran := make(chan string, 10)
		w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			ran <- request.GetValue()
			return request, nil
		}), "Direct": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			ran <- request.GetValue()
			return request, nil
		})})
		responses := p.listen(responseChannel(peerClient), bus.Broadcast)
		if punctualFirst {
			p.send(requestChannel("Direct"), newRequest(peerRequest, "punctual"))
			p.nextResponse(responses)
			assert.Equal(t, "punctual", <-ran)
		}
		late := func(id string) *wire.Request {
			request := newRequest(id, "late")
			sent := time.Now().Add(-10 * time.Second)
			request.SentAt, request.Expiry = sent.UnixNano(), sent.Add(30*time.Millisecond).UnixNano()
			return request
		}
		p.send(requestChannel("Direct"), late("REQ_late00000000"))
		p.send(requestChannel("Echo"), late("REQ_late00000001"))
		p.send(requestChannel("Direct"), late("REQ_late00000002"))
		require.Eventually(t, func() bool { // the server counts them in another goroutine
			return w.server.Stats().Expired == 3
		}, 10*time.Second, time.Millisecond)
		assert.Empty(t, ran)
	}
}
