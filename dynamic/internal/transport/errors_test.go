package transport

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestClassifyError(t *testing.T) {
	t.Parallel()
	unavailable := errors.NewErrorf(errors.Unavailable, "broker is unreachable")
	tooLarge := fmt.Errorf("%w: 9 bytes", bus.ErrFrameTooLarge)
	other := errors.New("broken pipe")
	for name, tt := range map[string]struct {
		err    error
		code   errors.ErrorCode
		reason errors.Reason
		same   bool // whether the error is returned unchanged
	}{
		"canceled":             {context.Canceled, errors.Canceled, errors.ReasonCanceled, false},
		"deadline":             {context.DeadlineExceeded, errors.DeadlineExceeded, errors.ReasonDeadline, false},
		"wrapped deadline":     {fmt.Errorf("publish: %w", context.DeadlineExceeded), errors.DeadlineExceeded, errors.ReasonDeadline, false},
		"misrouted":            {bus.ErrMisrouted, errors.Unavailable, errors.ReasonMisrouted, true},
		"too large":            {tooLarge, errors.ResourceExhausted, errors.ReasonTooLarge, true},
		"closed":               {bus.ErrClosed, errors.Unavailable, errors.ReasonBusDown, true},
		"unreachable":          {unavailable, errors.Unavailable, errors.ReasonBusDown, true},
		"denied":               {errors.NewErrorf(errors.PermissionDenied, "denied"), errors.PermissionDenied, errors.ReasonRefused, true},
		"bad subject":          {errors.NewErrorf(errors.InvalidArgument, "too long"), errors.InvalidArgument, errors.ReasonRefused, true},
		"quota":                {errors.NewErrorf(errors.ResourceExhausted, "quota"), errors.ResourceExhausted, errors.ReasonRefused, true},
		"error without a code": {other, errors.Internal, errors.ReasonBusDown, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err, reason := ClassifyError(tt.err)
			assert.Equal(t, tt.reason, reason)
			coded, ok := errors.AsType[errors.Error](err)
			require.True(t, ok)
			assert.Equal(t, tt.code, coded.Code())
			if tt.same {
				assert.Equal(t, tt.err, err)
			}
			if tt.code == errors.Internal {
				assert.ErrorIs(t, err, tt.err)
			}
		})
	}
}

// An error of a subscription keeps its code. If it has no code, or comes from a context, it gets
// the code unavailable.
func TestWithSubscribeCode(t *testing.T) {
	t.Parallel()
	for cause, code := range map[error]errors.ErrorCode{
		errors.NewErrorf(errors.PermissionDenied, "denied"): errors.PermissionDenied,
		errors.NewErrorf(errors.ResourceExhausted, "full"):  errors.ResourceExhausted,
		bus.ErrClosed:         errors.Unavailable,
		context.Canceled:      errors.Unavailable,
		errors.New("no code"): errors.Unavailable,
	} {
		err := WithSubscribeCode(cause, "method M: cannot subscribe")
		coded, ok := errors.AsType[errors.Error](err)
		require.True(t, ok)
		assert.Equal(t, code, coded.Code(), "%v", cause)
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "method M: cannot subscribe: "+cause.Error())
	}
}

func TestContextReason(t *testing.T) {
	t.Parallel()
	assert.Equal(t, errors.ReasonCanceled, ContextReason(context.Canceled))
	assert.Equal(t, errors.ReasonDeadline, ContextReason(context.DeadlineExceeded))
}
