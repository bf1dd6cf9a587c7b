package dynamic_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// slowWorld returns a world that serves Echo, its bus, and a counter of the calls that the handler
// has received. The handler waits for the given time before it responds.
func slowWorld(t *testing.T, took time.Duration) (*fakeBus, *world, *atomic.Int64) {
	t.Helper()
	b, runs := newFakeBus(), &atomic.Int64{}
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
		runs.Add(1)
		<-time.After(took)
		return request, nil
	})})
	return b, w, runs
}

// drop makes the bus lose every frame on a channel whose name ends with one of the suffixes.
func (b *fakeBus) drop(suffixes ...string) {
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		for _, suffix := range suffixes {
			if strings.HasSuffix(channel.Name, suffix) {
				return nil
			}
		}
		return b.Bus.Publish(ctx, channel, frame, report)
	}
}

// If a handler is slow, the server announces once to the client that it is handling the request, so
// that the client keeps waiting. If the handler is quick, the server announces nothing.
func TestAnnounce_SlowHandler(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration][]wire.Kind{
		0:                      {wire.KindRequest, wire.KindResponse},
		150 * time.Millisecond: {wire.KindRequest, wire.KindResponse},
		300 * time.Millisecond: {wire.KindRequest, wire.KindClaimRequest, wire.KindResponse},
		10 * time.Second:       {wire.KindRequest, wire.KindClaimRequest, wire.KindResponse},
	} {
		t.Run(took.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, w, runs := slowWorld(t, took)
				_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(time.Minute))
				require.NoError(t, err)
				assert.Equal(t, want, b.sentKinds(t))
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// A call fails just before the selection timeout if no server has confirmed that it received the
// request. A server may still have run the request, so the error is not marked as unprocessed.
func TestAnnounce_LostRequest(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string][]string{"request": {"REQ"}, "announcement and response": {"CLAIM", "RES"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, w, runs := slowWorld(t, time.Second)
				w.useDefaultTimeouts(t)
				b.drop(lost...)
				start := time.Now()
				_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(time.Minute))
				requireCode(t, errors.Unavailable, err)
				facts, _ := errors.FactsOf(err)
				assert.Equal(t, errors.ReasonNoSign, facts.Reason)
				assert.False(t, dynamic.IsUnprocessed(err))
				assert.Equal(t, dynamic.DefaultSelectionTimeout*19/20, time.Since(start))
				assert.LessOrEqual(t, runs.Load(), int64(1))
			})
		})
	}
}

// A call ends at its own timeout, even if the selection timeout is longer, or if the server has
// announced that it is handling the request.
func TestAnnounce_Timeout(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{500 * time.Millisecond, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			_, w, _ := slowWorld(t, time.Minute)
			start := time.Now()
			_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(timeout))
			requireCode(t, errors.DeadlineExceeded, err)
			assert.Equal(t, timeout, time.Since(start))
			<-time.After(time.Minute) // wait until the handler has returned
		})
	}
}

// A handler may return while the server is still publishing the announcement, which cancels the
// publication. The server does not log that as a failure.
func TestAnnounce_EndOfTheHandlerIsNotLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		var log logLines
		w := newWorldOn(t, b, dynamic.WithLogger(log.logger()))
		w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			<-time.After(300 * time.Millisecond)
			return request, nil
		})})
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			// The bus does not accept the announcement until the handler has returned.
			if strings.HasSuffix(channel.Name, "CLAIM") {
				<-ctx.Done()
				return ctx.Err()
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		_, err := w.call(t, echo, "hi")
		require.NoError(t, err)
		synctest.Wait()
		assert.Zero(t, log.count("cannot send"), log.text.String())
		assert.Zero(t, w.server.Stats().Unsent)
	})
}
