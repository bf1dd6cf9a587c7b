package limits_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
	"github.com/dynpsrpc/dynpsrpc/interceptors/limits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requireRefused requires that err reports an exceeded limit. It returns the RetryInfo in the
// details of err.
func requireRefused(t testing.TB, err error) *errdetails.RetryInfo {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, errors.ResourceExhausted, coded.Code())
	require.Len(t, coded.Details(), 1)
	info, ok := coded.Details()[0].(*errdetails.RetryInfo)
	require.True(t, ok)
	return info
}

// sides runs a test twice: once with the interceptor on the server and once with the interceptor on
// the conn.
func sides(t *testing.T, limit func() dynamic.Option, test func(t *testing.T, config testservice.Config)) {
	t.Helper()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		test(t, testservice.Config{Server: []dynamic.ServerOption{limit()}})
	})
	t.Run("conn", func(t *testing.T) {
		t.Parallel()
		test(t, testservice.Config{Conn: []dynamic.ConnOption{limit()}})
	})
}

func TestConcurrency_Calls(t *testing.T) {
	t.Parallel()
	sides(t, func() dynamic.Option { return limits.Concurrency(2) }, func(t *testing.T, config testservice.Config) {
		handling, release := make(chan struct{}, 10), make(chan struct{})
		config.Handle = func(_ context.Context, request testservice.Text) (testservice.Text, error) {
			handling <- struct{}{}
			<-release
			if request.GetValue() == "panic" {
				panic("oh")
			}
			return request, nil
		}
		s := testservice.New(t, config)
		done := make(chan error, 2)
		for _, request := range []string{"fine", "panic"} {
			go func() { // the test waits for this goroutine
				_, err := s.Call(context.Background(), testservice.Ask, request)
				done <- err
			}()
			<-handling
		}
		_, err := s.Call(t.Context(), testservice.Ask, "Rome")
		requireRefused(t, err)
		assert.Contains(t, err.Error(), testservice.Ask)
		_, err = s.CallAll(t.Context(), "Rome")
		requireRefused(t, err)
		_, err = s.Open(t.Context())
		requireRefused(t, err)

		close(release)
		<-done
		<-done
		for range 3 { // calls that are made one after the other never exceed the limit
			_, err = s.Call(t.Context(), testservice.Ask, "Rome")
			require.NoError(t, err)
			_, err = s.CallAll(t.Context(), "Rome")
			require.NoError(t, err)
		}
	})
}

func TestConcurrency_Streams(t *testing.T) {
	t.Parallel()
	sides(t, func() dynamic.Option { return limits.Concurrency(1) }, func(t *testing.T, config testservice.Config) {
		ended := make(chan struct{}, 10)
		config.Talk = func(stream testservice.Stream) error {
			defer func() { ended <- struct{}{} }()
			return testservice.Echo(stream)
		}
		s := testservice.New(t, config)
		for range 3 {
			stream, err := s.Open(t.Context())
			require.NoError(t, err)
			_, err = s.Open(t.Context())
			requireRefused(t, err)
			require.NoError(t, stream.Send(wrapperspb.String("hi")))
			require.NoError(t, stream.Close(nil))
			<-ended
			// The server releases the quota shortly after the handler has returned.
			require.EventuallyWithT(t, func(t *assert.CollectT) {
				_, err := s.Call(context.Background(), testservice.Ask, "Rome")
				assert.NoError(t, err)
			}, 10*time.Second, time.Millisecond)
		}
	})
}

// TestConcurrency_Failures checks that the quota of a call is released when the call fails.
func TestConcurrency_Failures(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{limits.Concurrency(1)}})
	require.NoError(t, s.Registration.Close(t.Context()))
	for range 3 {
		_, err := s.Call(t.Context(), testservice.Ask, "Rome")
		require.ErrorIs(t, err, errors.ErrNoResponse)
		_, err = s.CallAll(t.Context(), "Rome")
		require.ErrorIs(t, err, errors.ErrNoResponse)
		_, err = s.Open(t.Context())
		require.ErrorIs(t, err, errors.ErrNoResponse)
		require.NoError(t, dynamic.Publish(t.Context(), s.Conn, testservice.Warning, nil))
	}
}

// TestConcurrency_Panics checks that the quota of a call is released when another interceptor
// panics.
func TestConcurrency_Panics(t *testing.T) {
	t.Parallel()
	panicking := true
	inner := dynamic.WithClientMultiRPCInterceptors(func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
		if panicking {
			return panickingMulti{next}
		}
		return next
	})
	s := testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{limits.Concurrency(1), inner}})
	assert.Panics(t, func() { _, _ = s.CallAll(t.Context(), "Rome") })
	panicking = false
	_, err := s.CallAll(t.Context(), "Rome")
	require.NoError(t, err)
}

type panickingMulti struct{ dynamic.ClientMultiRPCHandler }

func (panickingMulti) Send(context.Context, proto.Message, ...dynamic.RequestOption) error {
	panic("oh")
}

func TestConcurrency_PerMethod(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Server: []dynamic.ServerOption{limits.Concurrency(1, limits.PerMethod())}})
	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	_, err = s.Open(t.Context())
	requireRefused(t, err)
	_, err = s.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	require.NoError(t, stream.Close(nil))
}

func TestRate(t *testing.T) {
	t.Parallel()
	sides(t, func() dynamic.Option { return limits.Rate(0.001, 3) }, func(t *testing.T, config testservice.Config) {
		s := testservice.New(t, config)
		_, err := s.Call(t.Context(), testservice.Ask, "Rome")
		require.NoError(t, err)
		_, err = s.CallAll(t.Context(), "Rome")
		require.NoError(t, err)
		stream, err := s.Open(t.Context())
		require.NoError(t, err)

		_, err = s.Call(t.Context(), testservice.Ask, "Rome")
		wait := requireRefused(t, err).GetRetryDelay().AsDuration()
		assert.Greater(t, wait, 900*time.Second)
		assert.LessOrEqual(t, wait, 1000*time.Second)
		_, err = s.CallAll(t.Context(), "Rome")
		requireRefused(t, err)
		_, err = s.Open(t.Context())
		assert.LessOrEqual(t, requireRefused(t, err).GetRetryDelay().AsDuration(), 1000*time.Second, "what is refused does not count")

		for range 10 { // stream messages do not count
			require.NoError(t, stream.Send(wrapperspb.String("hi")))
			<-stream.Channel()
		}
		require.NoError(t, stream.Close(nil))
	})
}

func TestRate_Publications(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{limits.Rate(0.001, 1)},
		// A burst of 0 has the same effect as a burst of 1.
		Conn: []dynamic.ConnOption{limits.Rate(0.001, 0)},
	})
	require.NoError(t, s.Registration.Publish(t.Context(), "Warning", wrapperspb.String("storm")))
	requireRefused(t, s.Registration.Publish(t.Context(), "Warning", wrapperspb.String("storm")))
	require.NoError(t, dynamic.Publish(t.Context(), s.Conn, testservice.Warning, nil))
	requireRefused(t, dynamic.Publish(t.Context(), s.Conn, testservice.Warning, nil))
}

// TestRate_NotRun checks that the server's error says that the request has not been run.
func TestRate_NotRun(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Server: []dynamic.ServerOption{limits.Rate(0.001, 1)}})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	require.NoError(t, err)
	_, err = s.Call(t.Context(), testservice.Ask, "Rome")
	requireRefused(t, err)
	assert.True(t, dynamic.IsUnprocessed(err))
}

func TestLimits_None(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Server: []dynamic.ServerOption{limits.Rate(0, 1), limits.Concurrency(0)}})
	for range 5 {
		_, err := s.Call(t.Context(), testservice.Ask, "Rome")
		require.NoError(t, err)
	}
}

func ExampleConcurrency() {
	s := testservice.Start(testservice.Config{Server: []dynamic.ServerOption{limits.Concurrency(1)}})
	defer s.Close()

	stream, err := s.Open(context.Background())
	fmt.Println(err)
	_, err = s.Call(context.Background(), testservice.Ask, "Rome")
	fmt.Println(err)
	_ = stream.Close(nil)
	// Output:
	// <nil>
	// method example.Weather/Ask: concurrency limit reached; try again later
}

func ExampleRate() {
	// The limit is one call in 100 seconds, with a burst of two.
	s := testservice.Start(testservice.Config{Server: []dynamic.ServerOption{limits.Rate(0.01, 2)}})
	defer s.Close()

	for range 3 {
		_, err := s.Call(context.Background(), testservice.Ask, "Rome")
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// method example.Weather/Ask: rate limit exceeded; try again later
}
