package dynamic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// WithFacts must tell how a call went, whether it has succeeded or failed.
func TestWithFacts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			<-time.After(time.Millisecond)
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		w := newWorldOn(t, b)
		handler := dynamic.Unary(func(_ context.Context, request text) (text, error) {
			if request.GetValue() == "fail" {
				return nil, errors.NewErrorf(errors.Aborted, "no")
			}
			return request, nil
		})
		w.serve(t, dynamic.Handlers{"Echo": handler, "Best": handler, "Direct": handler})
		ids := map[string]bool{}
		for _, method := range []string{echo, best, direct} {
			var facts, again errors.CallFacts
			_, err := w.call(t, method, "hi", dynamic.WithFacts(&facts), dynamic.WithFacts(&again))
			require.NoError(t, err)
			assert.Equal(t, "SRV_test", facts.ServerID, method)
			assert.Equal(t, method, facts.Method)
			assert.Empty(t, facts.Reason)
			assert.Equal(t, errors.PhaseResponse, facts.Phase)
			assert.Equal(t, time.Millisecond, facts.PublishTime)
			assert.Equal(t, time.Millisecond, facts.ResponseTime)
			assert.Equal(t, method == best, facts.SelectionTime > 0, "%s: %s", method, facts)
			assert.Equal(t, facts.RequestID, again.RequestID)
			ids[facts.RequestID] = true
		}
		assert.Len(t, ids, 3, "each request has an ID of its own")

		var facts errors.CallFacts
		_, err := w.call(t, echo, "fail", dynamic.WithFacts(&facts))
		requireCode(t, errors.Aborted, err)
		assert.Equal(t, "SRV_test", facts.ServerID)
		assert.Empty(t, facts.Reason, "the server has answered")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = dynamic.Invoke(ctx, w.conn, echo, nil, dynamic.WithFacts(&facts))
		assert.Equal(t, requireFacts(t, errors.ReasonCanceled, err).RequestID, facts.RequestID)
		assert.Equal(t, errors.ReasonCanceled, facts.Reason)
	})
}
