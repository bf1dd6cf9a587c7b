package dynamic_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestCall_FrameSizeLimit: whoever is over the limit of the bus, the caller learns it at once.
func TestCall_FrameSizeLimit(t *testing.T) {
	t.Parallel()
	const limit = 1000
	large := strings.Repeat("x", 2*limit)
	w := newWorld(t, bus.WithMaxFrameSize(limit))
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			switch request.GetValue() {
			case "large response":
				return wrapperspb.String(large), nil
			case "large error":
				return nil, errors.NewErrorf(errors.NotFound, "%s", large)
			case "large details":
				return nil, errors.NewError(errors.NotFound, errors.New("gone"), wrapperspb.String(large))
			}
			return request, nil
		}),
	})
	for _, request := range []string{large, "large response", "large error", "large details"} {
		_, err := w.call(t, echo, request, dynamic.WithRequestTimeout(time.Hour))
		coded := requireCode(t, errors.ResourceExhausted, err)
		assert.Contains(t, coded.Error(), "1000", "the limit")
		assert.Contains(t, coded.Error(), echo)
		if request == large {
			require.ErrorIs(t, err, bus.ErrFrameTooLarge)
			facts := requireFacts(t, errors.ReasonTooLarge, err)
			assert.Equal(t, errors.PhasePublish, facts.Phase)
		}
	}
	response, err := w.call(t, echo, "small")
	require.NoError(t, err)
	assert.Equal(t, "small", response)
}
