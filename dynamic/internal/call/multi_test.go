package call

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// start starts a multi call that is stopped when the test ends.
func (c *client) start(t testing.TB, request *Request) *Multi {
	t.Helper()
	multi, err := c.plan.StartMulti(t.Context(), &c.route, request)
	require.NoError(t, err)
	t.Cleanup(multi.Stop)
	return multi
}

func TestMulti_EndsWhenAllHaveAnswered(t *testing.T) {
	t.Parallel()
	c := newClient(t, "All")
	for i := range 3 {
		c.serve(t, func(request wire.Request) {
			assert.True(t, request.Multi)
			c.respond(t, request, "SRV_"+strconv.Itoa(i), "answer")
			c.respond(t, request, "SRV_"+strconv.Itoa(i), "again")
		})
	}
	multi := c.start(t, &Request{})
	answers := map[string]string{}
	for response, ok := multi.Next(t.Context()); ok; response, ok = multi.Next(t.Context()) {
		require.NoError(t, response.Err)
		answers[response.ServerID] = string(response.Raw)
	}
	assert.Equal(t, map[string]string{"SRV_0": "answer", "SRV_1": "answer", "SRV_2": "answer"}, answers)
	assert.True(t, multi.Ended())
}

func TestMulti_EndsWithTheExpectedResponses(t *testing.T) {
	t.Parallel()
	c := newClient(t, "All")
	c.serve(t, func(request wire.Request) { c.respond(t, request, "SRV_a", "a") })
	c.serve(t, func(wire.Request) {})
	multi := c.start(t, &Request{Expected: 1})
	_, ok := multi.Next(t.Context())
	assert.True(t, ok)
	_, ok = multi.Next(t.Context())
	assert.False(t, ok)
	assert.True(t, multi.Ended())
}

func TestMulti_Errors(t *testing.T) {
	t.Parallel()
	c := newClient(t, "All")
	response, ok := c.start(t, &Request{}).Next(t.Context())
	require.True(t, ok)
	require.ErrorIs(t, response.Err, errors.ErrNoResponse)
	assert.Empty(t, response.ServerID)

	c.serve(t, func(request wire.Request) {
		c.send(t, wire.ResponseChannel("Echoes", "CLI_a"), &wire.Response{
			RequestID: request.RequestID, ServerID: []byte("SRV_a"), Code: string(errors.NotFound), Error: "gone",
		})
	})
	response, ok = c.start(t, &Request{}).Next(t.Context())
	require.True(t, ok)
	assert.Equal(t, "SRV_a", response.ServerID)
	assert.Equal(t, "gone", response.Err.Error())

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.plan.StartMulti(ended, &c.route, &Request{})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Close())
	_, err = c.plan.StartMulti(t.Context(), &c.route, &Request{})
	require.ErrorIs(t, err, errors.ErrClientClosed)
}

func TestMulti_TimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "All")
		c.serve(t, func(wire.Request) {})
		started := time.Now()
		multi := c.start(t, &Request{Timeout: time.Minute})
		_, ok := multi.Next(t.Context())
		assert.False(t, ok)
		assert.True(t, multi.Ended())
		assert.Equal(t, time.Minute, time.Since(started))
	})
}

// A call with a quiet time ends when no further response arrives, although one server is silent.
// Before the first response, it waits as long as other calls do.
func TestMulti_EndsAfterTheQuietTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "All")
		c.serve(t, func(wire.Request) {})
		for i := range 3 {
			c.serve(t, func(request wire.Request) {
				time.AfterFunc(time.Second+time.Duration(i)*9*time.Millisecond, func() {
					c.respond(t, request, "SRV_"+strconv.Itoa(i), "answer")
				})
			})
		}
		started := time.Now()
		multi := c.start(t, &Request{Timeout: time.Minute, QuietTime: func(responses int) time.Duration {
			return time.Duration(responses) * 10 * time.Millisecond
		}})
		responses := 0
		for _, ok := multi.Next(t.Context()); ok; _, ok = multi.Next(t.Context()) {
			responses++
		}
		assert.Equal(t, 3, responses)
		assert.True(t, multi.Ended())
		assert.Equal(t, time.Second+18*time.Millisecond+30*time.Millisecond, time.Since(started))
	})
}

// Interrupt makes Next return early, once, without ending the call.
func TestMulti_Interrupt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "All")
		c.serve(t, func(wire.Request) {})
		multi := c.start(t, &Request{Timeout: time.Minute})
		multi.Interrupt()
		_, ok := multi.Next(t.Context())
		assert.False(t, ok)
		assert.False(t, multi.Ended())
		timer := time.AfterFunc(time.Second, multi.Interrupt)
		defer timer.Stop()
		started := time.Now()
		_, ok = multi.Next(t.Context())
		assert.False(t, ok)
		assert.False(t, multi.Ended())
		assert.Equal(t, time.Second, time.Since(started))
	})
}

func TestMulti_BoundedBuffer(t *testing.T) {
	t.Parallel()
	c := newClient(t, "All")
	var id []byte
	c.serve(t, func(request wire.Request) { id = append(id, request.RequestID...) })
	multi := c.start(t, &Request{})
	for i := range maxResponses {
		assert.True(t, multi.onResponse(wire.Response{RequestID: id, ServerID: []byte(strconv.Itoa(i))}))
	}
	assert.False(t, multi.onResponse(wire.Response{RequestID: id, ServerID: []byte("too many")}))
	_, ok := multi.Next(t.Context())
	assert.True(t, ok)
	assert.True(t, multi.onResponse(wire.Response{RequestID: id, ServerID: []byte("fits again")}))
}

func TestPlan_NewEndedMulti(t *testing.T) {
	t.Parallel()
	c := newClient(t, "All")
	multi := c.plan.NewEndedMulti(&c.route)
	multi.Interrupt()
	_, ok := multi.Next(t.Context())
	assert.False(t, ok)
	assert.True(t, multi.Ended())
	multi.Stop()
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "All")
		c.serve(t, func(wire.Request) {})
		multi := c.start(t, &Request{Timeout: time.Minute})
		to := make(chan int, 1)
		assert.True(t, Deliver(t.Context(), multi, to, 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.False(t, Deliver(ctx, multi, to, 2), "the context ends")
		assert.Equal(t, 1, <-to)
		assert.True(t, Deliver(ctx, multi, to, 3), "a free place is used in any case")
		started := time.Now()
		assert.False(t, Deliver(t.Context(), multi, to, 4), "the call times out")
		assert.Equal(t, 59*time.Second, time.Since(started))
	})
}
