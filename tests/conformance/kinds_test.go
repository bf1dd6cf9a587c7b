package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// This test makes calls of every kind with all four combinations of psrpc and dynpsrpc clients and
// servers.
func TestKinds(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		for _, ours := range []struct {
			name           string
			client, server bool
		}{{"none", false, false}, {"client", true, false}, {"server", false, true}, {"both", true, true}} {
			t.Run("ours: "+ours.name, func(t *testing.T) {
				t.Parallel()
				m := newMixed(t, b)
				if ours.server {
					m.serveKinds(0.25, 0.75)
				} else {
					m.peersServeKinds(0.25, 0.75)
				}
				if ours.client {
					m.callKinds()
				} else {
					m.peerCallsKinds()
				}
			})
		}
	})
}

// refuse returns a handler that fails for the request "refused" and otherwise responds with name.
func refuse(name string) handler {
	return func(request string) (string, *failure) {
		if request == "refused" {
			return "", &failure{"not_found", "no such thing"}
		}
		return name, nil
	}
}

func (m *mixed) peersServeKinds(affinities ...float32) {
	for i, affinity := range affinities {
		s, name := m.peerServer(), fmt.Sprint("server ", i)
		m.Cleanup(s.serve(m.work(), nil, refuse(name)))
		m.Cleanup(s.serve(m.best(), func() float32 { return affinity }, refuse(name)))
		m.Cleanup(s.serve(m.each(), nil, refuse(name)))
		m.Cleanup(s.serveStreams(m.talk(), func(stream *peerStream) *failure {
			for {
				select {
				case received := <-stream.received:
					if received == "end" {
						return &failure{"aborted", "as you wish"}
					}
					if err := stream.message("got " + received); err != nil {
						return err
					}
				case <-stream.closed:
					return nil
				}
			}
		}))
	}
}

func (m *mixed) serveKinds(affinities ...float32) {
	for i, affinity := range affinities {
		answer := func(_ context.Context, request value) (value, error) {
			if request.GetValue() == "refused" {
				return nil, errors.NewErrorf(errors.NotFound, "no such thing")
			}
			return wrapperspb.String(fmt.Sprint("server ", i)), nil
		}
		m.serve(dynamic.Handlers{
			"Work": dynamic.Unary(answer),
			"Best": dynamic.Unary(answer, dynamic.WithAffinity(func(context.Context, value) float32 { return affinity })),
			"Each": dynamic.Unary(answer),
			"Talk": dynamic.Stream(func(stream dynamic.ServerStream[value, value]) error {
				for received := range stream.Channel() {
					if received.GetValue() == "end" {
						return errors.NewErrorf(errors.Aborted, "as you wish")
					}
					if err := stream.Send(wrapperspb.String("got " + received.GetValue())); err != nil {
						return err
					}
				}
				return nil
			}),
		})
	}
}

const streamed = 20

func (m *mixed) callKinds() {
	ctx := m.Context()
	for name, want := range map[string][]string{"Work": {"server 0", "server 1"}, "Best": {"server 1"}} {
		c := m.client(name)
		var options []dynamic.RequestOption
		if name == "Best" {
			options = selecting(dynamic.SelectionOpts{AffinityTimeout: patience, ShortCircuitTimeout: shortCircuit})
		}
		response, err := c.Call(ctx, wrapperspb.String("x"), options...)
		require.NoError(m, err, name)
		assert.Contains(m, want, response.GetValue())
		_, err = c.Call(ctx, wrapperspb.String("refused"))
		assert.Equal(m, coded("not_found", "no such thing"), errorOutcome(err), name)
	}
	var names []string
	for response := range m.client("Each").Responses(ctx, wrapperspb.String("x"), dynamic.WithExpectedResponses(2)) {
		require.NoError(m, response.Err)
		names = append(names, response.Result.GetValue())
	}
	slices.Sort(names)
	assert.Equal(m, []string{"server 0", "server 1"}, names)

	stream, err := m.client("Talk").OpenStream(ctx)
	require.NoError(m, err)
	for i := range streamed {
		require.NoError(m, stream.Send(wrapperspb.String(fmt.Sprint(i))))
		received, _ := soon(stream.Channel())
		assert.Equal(m, fmt.Sprint("got ", i), received.GetValue())
	}
	// Ignore the error, because the stream may be closed before the acknowledgement arrives.
	_ = stream.Send(wrapperspb.String("end"))
	soon(stream.Context().Done())
	assert.Equal(m, coded("aborted", "as you wish"), errorOutcome(stream.Err()))
}

func (m *mixed) peerCallsKinds() {
	c := m.peerClient()
	for _, tt := range []struct {
		method

		want []string
	}{{m.work(), []string{"server 0", "server 1"}}, {m.best(), []string{"server 1"}}} {
		response, err := c.call(tt.method, "x", patience)
		require.Nil(m, err)
		assert.Contains(m, tt.want, response)
		_, err = c.call(tt.method, "refused", patience)
		assert.Equal(m, &failure{"not_found", "no such thing"}, err)
	}
	var names []string
	for _, response := range c.callMulti(m.each(), "x", 2) {
		names = append(names, textOf(response.bytes(responseRaw)))
	}
	slices.Sort(names)
	assert.Equal(m, []string{"server 0", "server 1"}, names)

	stream, failed := c.open(m.talk(), patience)
	require.Nil(m, failed)
	for i := range streamed {
		require.Nil(m, stream.message(fmt.Sprint(i)))
		received, _ := soon(stream.received)
		assert.Equal(m, fmt.Sprint("got ", i), received)
	}
	// Ignore the error, because the stream may be closed before the acknowledgement arrives.
	_ = stream.message("end")
	soon(stream.closed)
	assert.Equal(m, &failure{"aborted", "as you wish"}, stream.err)
}

// The reference peer must deduplicate the updates on a queue as psrpc does. On Redis, only one of
// several identical updates is delivered. On NATS, all of them are. Each delivered update reaches
// exactly one subscriber.
func TestPeer_QueueOfUpdates(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		m := newMixed(t, b)
		var lock sync.Mutex
		received := map[string]int{}
		for range 3 {
			defer b.link(t).listen(m.jobs().requests(), true, func(f frame) {
				lock.Lock()
				defer lock.Unlock()
				received[textOf(body(f))]++
			})()
		}
		l := b.link(t)
		for i := range 20 {
			send(l, m.jobs().requests(), "google.protobuf.StringValue", message{}.withText(1, fmt.Sprint("update ", i/2)))
		}
		count := func() (distinct, all int) {
			lock.Lock()
			defer lock.Unlock()
			for _, n := range received {
				all += n
			}
			return len(received), all
		}
		want := 20
		if _, ok := l.(*redisLink); ok {
			want = 10
		}
		assert.Eventually(t, func() bool {
			distinct, all := count()
			return distinct == 10 && all == want
		}, patience, time.Millisecond, "%v", received)
	})
}
