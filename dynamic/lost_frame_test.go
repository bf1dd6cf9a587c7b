package dynamic_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// lateness is the time after which the bus reports that it has lost a frame.
const lateness = 50 * time.Millisecond

// loseLater makes the bus lose frames on channels whose names end with suffix. The bus reports
// each loss only after the duration lateness.
func (b *fakeBus) loseLater(suffix string) {
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if !strings.HasSuffix(channel.Name, suffix) {
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		if report != nil {
			time.AfterFunc(lateness, func() { report.Delivered(bus.Unknown, errBroken) })
		}
		return nil
	}
}

// lossWorld returns a world that serves every kind of call, and its bus.
func lossWorld(t *testing.T) (*fakeBus, *world) {
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.registry = newRegistry(t, kindsSource, streamSource)
	require.NoError(t, w.conn.Close())
	var err error
	w.conn, err = dynamic.NewConn(b, w.registry)
	require.NoError(t, err)
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text](), "Best": identity[text]()})
	_, err = w.server.Register(descriptor(t, w.registry, "kinds.Fleet"),
		dynamic.Handlers{"All": identity[text]()}, dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = w.server.Register(descriptor(t, w.registry, "streams.Flows"),
		dynamic.Handlers{"Flow": dynamic.Stream(echoFlow), "Direct": dynamic.Stream(echoFlow)}, dynamic.AllowMissing())
	require.NoError(t, err)
	return b, w
}

// TestLostFrame_EndsTheCall checks that a call ends as soon as the bus reports that it has lost a
// frame of the call.
func TestLostFrame_EndsTheCall(t *testing.T) {
	t.Parallel()
	single := func(name string) func(w *world, t *testing.T) error {
		return func(w *world, t *testing.T) error {
			_, err := w.call(t, name, "hi", dynamic.WithRequestTimeout(time.Hour))
			return err
		}
	}
	open := func(name string) func(w *world, t *testing.T) error {
		return func(w *world, t *testing.T) error {
			_, err := textClient(t, w.conn, name).OpenStream(t.Context(), dynamic.WithRequestTimeout(time.Hour))
			return err
		}
	}
	for name, tt := range map[string]struct {
		lost  string
		call  func(w *world, t *testing.T) error
		phase errors.Phase
	}{
		"queue":                {"REQ", single(echo), errors.PhaseResponse},
		"direct":               {"REQ", single(direct), errors.PhaseResponse},
		"affinity":             {"REQ", single(best), errors.PhaseSelection},
		"affinity, the choice": {"RCLAIM", single(best), errors.PhaseResponse},
		"stream":               {"STR", open(flow), errors.PhaseSelection},
		"stream, the choice":   {"RCLAIM", open(flow), errors.PhaseResponse},
		"direct stream":        {"STR", open(directFlow), errors.PhaseResponse},
		"multi": {"REQ", func(w *world, t *testing.T) error {
			responses, err := textClient(t, w.conn, "kinds.Fleet/All").CallMulti(t.Context(), say("hi"),
				dynamic.WithRequestTimeout(time.Hour))
			require.NoError(t, err)
			last := <-responses
			_, more := <-responses
			assert.False(t, more)
			return last.Err
		}, errors.PhaseResponse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, w := lossWorld(t)
				// The server may wait for a grant, which Shutdown would wait for as well.
				t.Cleanup(w.server.Kill)
				b.loseLater(tt.lost)
				start := time.Now()
				err := tt.call(w, t)
				assert.Equal(t, lateness, time.Since(start))
				requireCode(t, errors.Unavailable, err)
				require.ErrorIs(t, err, errBroken)
				assert.Equal(t, tt.phase, requireFacts(t, errors.ReasonBusDown, err).Phase)
			})
		})
	}
}

// TestLostFrame_StreamMessage checks that Send or Flush fails if the bus reports that it has lost
// a message. The stream stays open.
func TestLostFrame_StreamMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, w := lossWorld(t)
		for _, window := range []int{0, 10} {
			stream, err := textClient(t, w.conn, flow).OpenStream(t.Context(),
				dynamic.WithRequestTimeout(time.Hour), dynamic.WithStreamWindow(window))
			require.NoError(t, err)
			b.loseLater("STR")
			start := time.Now()
			err = stream.Send(say("hi"))
			if window > 0 {
				require.NoError(t, err, "it was sent")
				err = stream.Flush(t.Context())
			}
			assert.Equal(t, lateness, time.Since(start))
			requireCode(t, errors.Unavailable, err)
			require.ErrorIs(t, err, errBroken)
			requireFacts(t, errors.ReasonBusDown, err)
			b.publish = nil
			require.NoError(t, stream.Err())
			require.NoError(t, stream.Send(say("again")))
			requireText(t, "again", stream.Channel())
		}
	})
}

// TestLostFrame_Answers checks that a call whose response was lost ends at its timeout, because
// nothing tells the client about the loss.
func TestLostFrame_Answers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, w := lossWorld(t)
		b.loseLater("RES")
		start := time.Now()
		_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(time.Second))
		requireCode(t, errors.DeadlineExceeded, err)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// TestStuckBus_AnswersAreGivenUp checks how long the server tries to send a frame that the bus does
// not accept. The server must give up a response after the server's timeout, and a claim when the
// request expires.
func TestStuckBus_AnswersAreGivenUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		stuck  string
		until  time.Duration // the time after which the server gives up
	}{
		"response, by the server's timeout": {echo, "RES", 7 * time.Second},
		"claim, by the request's expiry":    {best, "CLAIM", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, log := newFakeBus(), discard
				w := newWorldOn(t, b, dynamic.WithServerTimeout(7*time.Second), dynamic.WithLogger(log))
				w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Best": identity[text]()})
				b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
					if strings.HasSuffix(channel.Name, "|"+tt.stuck) {
						<-ctx.Done()
						return ctx.Err()
					}
					return b.Bus.Publish(ctx, channel, frame, report)
				}
				start := time.Now()
				_, err := w.call(t, tt.method, "hi", dynamic.WithRequestTimeout(time.Second))
				require.Error(t, err)
				assert.Equal(t, time.Second, time.Since(start))
				require.NoError(t, w.server.Shutdown(t.Context()))
				assert.Equal(t, tt.until, time.Since(start), "when the worker is free")
			})
		})
	}
}
