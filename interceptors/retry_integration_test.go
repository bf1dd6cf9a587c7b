package interceptors_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

var quick = interceptors.WithBackoff(time.Millisecond, time.Millisecond)

// each returns an interceptor that calls f before each attempt of a single call.
func each(f func(attempt int)) dynamic.ConnOption {
	return dynamic.WithClientRPCInterceptors(func(_ dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
		return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
			f(interceptors.Attempt(ctx))
			return next(ctx, request, opts...)
		}
	})
}

// TestRetry_NobodyListens checks that a call succeeds if its topic is registered between two
// attempts.
func TestRetry_NobodyListens(t *testing.T) {
	t.Parallel()
	var s *testservice.Service
	s = testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{interceptors.Retry(quick), each(func(attempt int) {
		if attempt == 3 {
			assert.NoError(t, s.Registration.RegisterTopic("AskThere", "eu"))
		}
	})}})
	answer, err := s.Call(t.Context(), testservice.AskThere, "Rome", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	assert.Equal(t, "rain in Rome", answer)
}

// TestRetry_WithinTheTimeout checks that the timeout of a request applies to all attempts together.
func TestRetry_WithinTheTimeout(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := testservice.New(t, testservice.Config{
		Conn: []dynamic.ConnOption{interceptors.Retry(quick, interceptors.WithAttempts(1000)), each(func(int) { calls.Add(1) })},
		Handle: func(ctx context.Context, _ testservice.Text) (testservice.Text, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	_, err := s.Call(t.Context(), testservice.Look, "Rome", dynamic.WithRequestTimeout(50*time.Millisecond))
	require.Error(t, err)
	assert.EqualValues(t, 1, calls.Load(), "no time is left for another one")
}

// TestRetry_FullServer checks the option WithTrustedServers. If a full server rejects a request,
// the call must be retried, even if the method is not idempotent.
func TestRetry_FullServer(t *testing.T) {
	t.Parallel()
	handling, release := make(chan struct{}, 2), make(chan struct{})
	persistent := interceptors.Retry(quick, interceptors.WithTrustedServers(),
		interceptors.WithAttempts(10_000), interceptors.WithRetryBudget(0, 0))
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{dynamic.WithMaxConcurrentRequests(1)},
		Conn: []dynamic.ConnOption{persistent, each(func(attempt int) {
			if attempt == 2 {
				close(release) // the server still needs some time to finish the first request
			}
		})},
		Handle: func(ctx context.Context, request testservice.Text) (testservice.Text, error) {
			handling <- struct{}{}
			<-release
			return request, nil
		},
	})
	first := make(chan error, 1)
	go func() { // the test waits for this goroutine
		_, err := s.Call(t.Context(), testservice.Ask, "Oslo")
		first <- err
	}()
	<-handling
	answer, err := s.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	assert.Equal(t, "Rome", answer)
	require.NoError(t, <-first)
}

// TestRetry_ForgedUnprocessedMark checks forged responses that say that the request has not been
// processed. By default, they must not cause a method to run twice, unless the method is
// idempotent.
func TestRetry_ForgedUnprocessedMark(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method string
		opts   []interceptors.RetryOption
		runs   int32
	}{
		{testservice.Ask, nil, 1},
		{testservice.Look, nil, 3}, // this method is idempotent
		{testservice.Ask, []interceptors.RetryOption{interceptors.WithTrustedServers()}, 3},
	} {
		var runs atomic.Int32
		s := testservice.New(t, testservice.Config{
			Conn: []dynamic.ConnOption{interceptors.Retry(append(tt.opts, quick)...)},
			Handle: func(context.Context, testservice.Text) (testservice.Text, error) {
				runs.Add(1) // the request has run, although the response says the opposite
				return nil, dynamic.Unprocessed(errors.NewErrorf(errors.ResourceExhausted, "forged"))
			},
		})
		_, err := s.Call(t.Context(), tt.method, "Rome")
		require.Error(t, err)
		assert.True(t, dynamic.IsUnprocessed(err))
		assert.Equal(t, tt.runs, runs.Load(), tt.method)
	}
}

// deafBus is the bus of a client that receives no frames.
type deafBus struct{ bus.Bus }

func (b deafBus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, _ bus.Handler,
) (bus.Subscription, error) {
	return b.Bus.Subscribe(ctx, channel, mode, func([]byte) {})
}

// TestRetry_LostSigns checks calls whose client receives neither the server's announcement nor its
// response, although the request has run. Such a call must be retried only if the method is
// idempotent.
func TestRetry_LostSigns(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]int32{testservice.Ask: 1, testservice.Look: 3, testservice.Set: 3} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int32
				s := testservice.New(t, testservice.Config{
					Handle: func(_ context.Context, request testservice.Text) (testservice.Text, error) {
						runs.Add(1)
						// The server sends its announcement while the handler waits.
						<-time.After(500 * time.Millisecond)
						return request, nil
					},
				})
				conn, err := dynamic.NewConn(deafBus{s.Bus}, s.Registry, interceptors.Retry(quick))
				require.NoError(t, err)
				client, err := dynamic.NewClient[testservice.Text, testservice.Text](conn, method)
				require.NoError(t, err)
				_, err = client.Call(t.Context(), wrapperspb.String("Rome"), dynamic.WithRequestTimeout(time.Minute))
				require.Error(t, err)
				facts, _ := errors.FactsOf(err)
				assert.Equal(t, errors.ReasonNoSign, facts.Reason)
				assert.Equal(t, want, runs.Load())
				require.NoError(t, conn.Close())
			})
		})
	}
}

// failingSends returns an interceptor that makes the first calls of Send on each stream fail.
func failingSends(failures int32, sends *atomic.Int32) dynamic.StreamInterceptor {
	return func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		return &failing{StreamHandler: next, failures: failures, sends: sends}
	}
}

type failing struct {
	dynamic.StreamHandler

	failures int32
	sends    *atomic.Int32
}

func (f *failing) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	if f.sends.Add(1) <= f.failures {
		return errors.WithFacts(errors.ErrNoResponse, errors.CallFacts{Phase: errors.PhaseStream, Reason: errors.ReasonNobodyListening})
	}
	return f.StreamHandler.Send(message, opts...)
}

func TestRetry_Streams(t *testing.T) {
	t.Parallel()
	var ofClient, ofServer atomic.Int32
	s := testservice.New(t, testservice.Config{
		// The outermost interceptor of a server is the one closest to the bus.
		Server: []dynamic.ServerOption{
			dynamic.WithServerStreamInterceptors(failingSends(2, &ofServer)), interceptors.Retry(quick),
		},
		Conn: []dynamic.ConnOption{interceptors.Retry(quick), dynamic.WithClientStreamInterceptors(failingSends(2, &ofClient))},
	})
	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(wrapperspb.String("hi")))
	assert.Equal(t, "hi", (<-stream.Channel()).GetValue())
	require.NoError(t, stream.Close(nil))
	assert.EqualValues(t, 3, ofClient.Load())
	assert.EqualValues(t, 3, ofServer.Load())
}

// TestRetry_StreamWithWindow checks that messages are not retried on a stream that has a window.
func TestRetry_StreamWithWindow(t *testing.T) {
	t.Parallel()
	var sends atomic.Int32
	s := testservice.New(t, testservice.Config{
		Conn: []dynamic.ConnOption{interceptors.Retry(quick), dynamic.WithClientStreamInterceptors(failingSends(1, &sends))},
	})
	client, err := dynamic.NewClient[testservice.Text, testservice.Text](s.Conn, testservice.Talk)
	require.NoError(t, err)
	stream, err := client.OpenStream(t.Context(), dynamic.WithStreamWindow(4))
	require.NoError(t, err)
	require.ErrorIs(t, stream.Send(wrapperspb.String("hi")), errors.ErrNoResponse)
	assert.EqualValues(t, 1, sends.Load())
	require.NoError(t, stream.Close(nil))
}

// TestRetry_ClosedStream checks that Send is not retried on a closed stream, regardless of the
// error that closed it.
func TestRetry_ClosedStream(t *testing.T) {
	t.Parallel()
	var sends atomic.Int32
	s := testservice.New(t, testservice.Config{
		Conn: []dynamic.ConnOption{
			interceptors.Retry(interceptors.WithIdempotent(func(*registry.Method) bool { return true })),
			dynamic.WithClientStreamInterceptors(failingSends(0, &sends)),
		},
		Talk: func(testservice.Stream) error { return errors.ErrNoResponse },
	})
	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	<-stream.Context().Done()
	require.EqualError(t, stream.Send(wrapperspb.String("hi")), "no response from servers", "and nothing of a wait")
	assert.EqualValues(t, 1, sends.Load())
}

// TestRetry_RetryInfo checks the error of a server that forwarded the request to another server,
// which rejected it. The client must not treat the request as unprocessed, because the first server
// has run it.
func TestRetry_RetryInfo(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := testservice.New(t, testservice.Config{
		Conn: []dynamic.ConnOption{interceptors.Retry(quick), each(func(int) { calls.Add(1) })},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) {
			return nil, errors.NewError(errors.ResourceExhausted, errors.New("another server is full"), &errdetails.RetryInfo{})
		},
	})
	for method, wanted := range map[string]int32{testservice.Ask: 1, testservice.Look: 3} {
		calls.Store(0)
		_, err := s.Call(t.Context(), method, "Rome")
		require.Error(t, err)
		assert.Equal(t, wanted, calls.Load(), method)
	}
}
