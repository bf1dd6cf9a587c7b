package regression

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// startCall makes a call in the background. It returns a channel that receives the error of the
// call.
func startCall(t *testing.T, conn *dynamic.Conn, method string) <-chan error {
	t.Helper()
	client := testkit.Caller(t, conn, method)
	ended := make(chan error, 1)
	go func() { // this goroutine ends when the call does
		_, err := client.Call(context.Background(), &api.MyRequest{}, patient)
		ended <- err
	}()
	return ended
}

func TestDefect04_RepeatedResponses(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		f, conn := forger{t, network.Connect(t)}, testkit.Conn(t, network.Connect(t))
		requests, stop := f.listen(wire.RequestChannel(testkit.WireName, "NormalRPC", nil, true))
		for range 3 {
			ended := startCall(t, conn, "NormalRPC")
			f.respond(f.awaitRequest(requests), 1000)
			require.NoError(t, testkit.Soon(t, ended, "end of the call"))
		}
		stop()
		testkit.Serve(t, network.Connect(t), testkit.Echoes())
		requireWorking(t, conn)
	})
}

func TestDefect06_ManyClaims(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		f, conn := forger{t, network.Connect(t)}, testkit.Conn(t, network.Connect(t))
		requests, stop := f.listen(wire.RequestChannel(testkit.WireName, "IntensiveRPC", nil, false))
		granted, stopGrants := f.listen(wire.ClaimResponseChannel(testkit.WireName, "IntensiveRPC", nil))
		defer stopGrants()
		ended := startCall(t, conn, "IntensiveRPC")
		request := f.awaitRequest(requests)
		f.claim(request, 1000)
		testkit.Soon(t, granted, "grant")
		f.respond(request, 1)
		require.NoError(t, testkit.Soon(t, ended, "end of the call"))
		stop()
		testkit.Serve(t, network.Connect(t), testkit.Echoes())
		requireWorking(t, conn)
	})
}

func TestDefect07_UnreadResponses(t *testing.T) {
	t.Parallel()
	const servers = 120 // more than the responses that a multi call buffers
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		crowded := network.Connect(t)
		for range servers {
			testkit.Serve(t, crowded, dynamic.Handlers{"GetStats": dynamic.Unary(testkit.Echo)})
		}
		conn := testkit.Conn(t, network.Connect(t))
		responses, err := testkit.Caller(t, conn, "GetStats").CallMulti(t.Context(), &api.MyRequest{}, patient)
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return len(responses) == cap(responses) }, "responses")
		_, registration := testkit.Serve(t, network.Connect(t), dynamic.Handlers{"MoveRegion": dynamic.Unary(testkit.Echo)})
		require.NoError(t, registration.RegisterTopic("MoveRegion", "here"))
		requireCalls(t, testkit.Caller(t, conn, "MoveRegion").Topic("here"), rounds)
	})
}

func TestDefect17_ClosedWhileResponsesCome(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		testkit.Serve(t, network.Connect(t), testkit.Echoes())
		shared := network.Connect(t)
		for range 300 / rounds {
			var calls sync.WaitGroup
			for range rounds {
				conn := testkit.Conn(t, shared)
				client := testkit.Caller(t, conn, "GetStats")
				answered := make(chan struct{}, 3)
				for range cap(answered) {
					calls.Go(func() { // this goroutine ends before the test does
						for response := range client.Responses(context.Background(), &api.MyRequest{}, patient) {
							answered <- struct{}{}
							assert.Contains(t, []errors.ErrorCode{errors.OK, errors.Canceled}, testkit.Code(response.Err))
							return
						}
					})
				}
				// Responses to the other calls are still arriving.
				testkit.Soon(t, answered, "the first response")
				require.NoError(t, conn.Close())
			}
			calls.Wait()
		}
		requireWorking(t, testkit.Conn(t, shared))
	})
}

func TestDefect18_ClosedWithCallInFlight(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		started, release := make(chan struct{}, 10), make(chan struct{})
		wait := dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) {
			started <- struct{}{}
			<-release
			return nil, nil //nolint:nilnil // nil stands for an empty response
		})
		testkit.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": wait, "IntensiveRPC": wait})
		defer close(release)
		for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
			conn := testkit.Conn(t, network.Connect(t))
			ended := startCall(t, conn, method)
			testkit.Soon(t, started, "the handler")
			closing := time.Now()
			require.NoError(t, conn.Close())
			err := testkit.Soon(t, ended, "end of the call")
			require.ErrorIs(t, err, errors.ErrClientClosed)
			requireCode(t, errors.Canceled, err, closing)
		}
	})
}

func TestDefect25_ClosedInFloodOfResponses(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		testkit.Serve(t, network.Connect(t), testkit.Echoes())
		f, shared := forger{t, network.Connect(t)}, network.Connect(t)
		for range 20 {
			conn := testkit.Conn(t, shared)
			// Afterwards, the conn has subscribed to its response channel.
			requireCalls(t, testkit.Caller(t, conn, "NormalRPC"), 1)
			flooded := make(chan struct{})
			go func() { // the test waits for this goroutine
				defer close(flooded)
				f.respond(wire.Request{RequestID: []byte("REQ_unknown"), ClientID: []byte(conn.ID())}, 500)
			}()
			testkit.Eventually(t, func() bool { return conn.Stats().Unmatched > 0 }, "the flood has begun")
			require.NoError(t, conn.Close())
			requireWorking(t, testkit.Conn(t, shared))
			testkit.Soon(t, flooded, "end of the flood")
		}
	})
}
