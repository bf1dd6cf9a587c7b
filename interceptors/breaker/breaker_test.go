package breaker

import (
	"context"
	"testing"
	"testing/synctest"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var down = errors.NewErrorf(errors.Unavailable, "down")

// backend stands for the server in tests of single calls. It counts the calls.
type backend struct {
	err   error
	calls int
}

func (b *backend) call(context.Context, proto.Message, ...dynamic.RequestOption) (proto.Message, error) {
	b.calls++
	if b.err != nil {
		return nil, b.err
	}
	return wrapperspb.String("fine"), nil
}

// send makes several calls and returns the last error.
func send(t testing.TB, handler dynamic.ClientRPCHandler, calls int) (err error) {
	t.Helper()
	for range calls {
		_, err = handler(t.Context(), wrapperspb.String("hi"))
	}
	return err
}

// elapse advances the virtual time.
func elapse(duration time.Duration) { <-time.After(duration) }

func requireOpen(t testing.TB, err error) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, errors.Unavailable, coded.Code())
	require.ErrorIs(t, err, ErrOpen)
	require.Len(t, coded.Details(), 1)
	require.IsType(t, &errdetails.RetryInfo{}, coded.Details()[0])
}

func TestBreaker_OpensAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		b := newBreakers([]Option{WithStateHook(func(key, from, to string) { changes = append(changes, key+" "+from+" "+to) })})
		servers := &backend{}
		handler := b.call(testservice.Info(testservice.Ask), servers.call)
		require.NoError(t, send(t, handler, 10))
		servers.err = down
		require.Equal(t, down, send(t, handler, 9), "9 of 19 have failed")
		require.Equal(t, down, send(t, handler, 1), "10 of 20 have failed")
		requireOpen(t, send(t, handler, 100))
		assert.Equal(t, 20, servers.calls)

		elapse(10*time.Second + 1)
		require.Equal(t, down, send(t, handler, 1), "one goes through")
		requireOpen(t, send(t, handler, 10))
		assert.Equal(t, 21, servers.calls)

		elapse(10*time.Second + 1)
		servers.err = nil
		require.NoError(t, send(t, handler, 10))
		assert.Equal(t, []string{
			testservice.Ask + " closed open", testservice.Ask + " open half-open", testservice.Ask + " half-open open",
			testservice.Ask + " open half-open", testservice.Ask + " half-open closed",
		}, changes)
	})
}

func TestBreaker_Window(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := &backend{err: down}
		handler := newBreakers([]Option{WithThreshold(1, 3), WithWindow(time.Second), WithCooldown(time.Hour)}).call(testservice.Info(testservice.Ask), servers.call)
		for range 5 {
			require.Equal(t, down, send(t, handler, 2))
			elapse(2 * time.Second)
		}
		require.Equal(t, down, send(t, handler, 3))
		elapse(59 * time.Minute)
		requireOpen(t, send(t, handler, 1))
	})
}

func TestBreaker_WhatCounts(t *testing.T) {
	t.Parallel()
	nobody := func(topic ...string) error {
		return errors.WithFacts(errors.ErrNoResponse, errors.CallFacts{Reason: errors.ReasonNobodyListening, Topic: topic})
	}
	for _, tt := range []struct {
		name  string
		err   error
		opens bool
	}{
		{"unavailable", down, true},
		{"deadline exceeded", errors.ErrRequestTimedOut, true},
		{"nobody listens", nobody(), true},
		{"nobody listens to a topic", nobody("eu"), false},
		{"canceled", errors.ErrRequestCanceled, false},
		{"not found", errors.NewErrorf(errors.NotFound, "no"), false},
		{"internal", errors.NewErrorf(errors.Internal, "no"), false},
		{"resource exhausted", errors.NewErrorf(errors.ResourceExhausted, "no"), false},
	} {
		servers := &backend{err: tt.err}
		err := send(t, newBreakers(nil).call(testservice.Info(testservice.Ask), servers.call), 100)
		assert.Equal(t, tt.opens, errors.Is(err, ErrOpen), tt.name)
	}
	servers := &backend{err: errors.NewErrorf(errors.Internal, "no")}
	requireOpen(t, send(t, newBreakers([]Option{WithCodes(errors.Internal)}).call(testservice.Info(testservice.Ask), servers.call), 100))
}

// TestBreaker_CanceledTrial checks that a trial call that is canceled does not close the circuit
// breaker and does not prevent further trial calls.
func TestBreaker_CanceledTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := &backend{err: down}
		handler := newBreakers(nil).call(testservice.Info(testservice.Ask), servers.call)
		requireOpen(t, send(t, handler, 100))
		elapse(11 * time.Second)
		servers.err = errors.ErrRequestCanceled
		require.Equal(t, servers.err, send(t, handler, 1))
		servers.err = down
		require.Equal(t, down, send(t, handler, 1))
		requireOpen(t, send(t, handler, 1))
	})
}

func TestBreaker_PanickingTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := &backend{err: down}
		b := newBreakers(nil)
		handler := b.call(testservice.Info(testservice.Ask), servers.call)
		requireOpen(t, send(t, handler, 100))
		elapse(11 * time.Second)
		assert.Panics(t, func() {
			_ = send(t, b.call(testservice.Info(testservice.Ask), func(context.Context, proto.Message, ...dynamic.RequestOption) (proto.Message, error) {
				panic("oh")
			}), 1)
		})
		servers.err = nil
		require.NoError(t, send(t, handler, 1))
	})
}

func TestBreaker_Keys(t *testing.T) {
	t.Parallel()
	servers := &backend{err: down}
	info := func(method, topic string) dynamic.RPCInfo {
		info := testservice.Info(method)
		info.Topic = []string{topic}
		return info
	}
	b := newBreakers(nil)
	requireOpen(t, send(t, b.call(info(testservice.AskThere, "eu"), servers.call), 21))
	requireOpen(t, send(t, b.call(info(testservice.AskThere, "us"), servers.call), 1))
	require.Equal(t, down, send(t, b.call(info(testservice.Ask, ""), servers.call), 1), "another method")

	b = newBreakers([]Option{WithKey(func(info dynamic.RPCInfo) string { return info.Topic[0] })})
	requireOpen(t, send(t, b.call(info(testservice.AskThere, "eu"), servers.call), 21))
	require.Equal(t, down, send(t, b.call(info(testservice.AskThere, "us"), servers.call), 1))
}

// TestBreaker_Whole uses the interceptor with a real client and server. It checks that calls, multi
// calls and streams each have their own circuit breaker.
func TestBreaker_Whole(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{New(WithThreshold(0.5, 4), WithCooldown(time.Hour))}})
	kinds := map[string]func() error{
		"call": func() error { _, err := s.Call(t.Context(), testservice.Ask, "Rome"); return err },
		"multi call": func() error {
			_, err := s.CallAll(t.Context(), "Rome")
			return err
		},
		"stream": func() error {
			stream, err := s.Open(t.Context())
			if err == nil {
				err = stream.Send(wrapperspb.String("hi"))
				_ = stream.Close(nil)
			}
			return err
		},
	}
	for name, kind := range kinds {
		for range 2 {
			require.NoError(t, kind(), name)
		}
	}
	require.NoError(t, s.Registration.Close(t.Context()))
	for name, kind := range kinds {
		for range 2 {
			err := kind()
			require.ErrorIs(t, err, errors.ErrNoResponse, name)
			require.NotErrorIs(t, err, ErrOpen, name)
		}
		requireOpen(t, kind())
		assert.Contains(t, kind().Error(), "not called", name)
	}
}

// TestBreaker_MultiFailures checks that a multi call does not count as failed if a server responds,
// even if the response is an error.
func TestBreaker_MultiFailures(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{
		Conn:   []dynamic.ConnOption{New(WithThreshold(0.1, 1))},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) { return nil, down },
	})
	for range 3 {
		_, err := s.CallAll(t.Context(), "Rome")
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrOpen)
	}
}

// TestBreaker_StreamFailures checks that an error that closes an open stream does not count as a
// failure.
func TestBreaker_StreamFailures(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{
		Conn: []dynamic.ConnOption{New(WithThreshold(0.1, 1))},
		Talk: func(testservice.Stream) error { return down },
	})
	for range 3 {
		stream, err := s.Open(t.Context())
		require.NoError(t, err)
		for range stream.Channel() {
			t.Error("nothing was sent")
		}
	}
}
