package errors_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var goSentinels = map[string]errors.Error{
	"ErrRequestCanceled": errors.ErrRequestCanceled,
	"ErrRequestTimedOut": errors.ErrRequestTimedOut,
	"ErrNoResponse":      errors.ErrNoResponse,
	"ErrUnimplemented":   errors.ErrUnimplemented,
	"ErrStreamEOF":       errors.ErrStreamEOF,
	"ErrClientClosed":    errors.ErrClientClosed,
	"ErrServerClosed":    errors.ErrServerClosed,
	"ErrStreamClosed":    errors.ErrStreamClosed,
	"ErrSlowConsumer":    errors.ErrSlowConsumer,
}

func TestSentinels_Measured(t *testing.T) {
	t.Parallel()
	rows := readMeasured(t).Predefined
	require.Len(t, rows, len(goSentinels))
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			sentinel, known := goSentinels[row.Name]
			require.True(t, known, "no predefined error for this row")
			assert.Equal(t, row.Code, sentinel.Code())
			assert.Equal(t, row.Text, sentinel.Error())
		})
	}
}

func TestSentinels_AreFoundAcrossTheWire(t *testing.T) {
	t.Parallel()
	for name, sentinel := range goSentinels {
		code, text, details := errors.ToWire(sentinel)
		answered := errors.FromWire(code, text, details)
		closed := errors.FromStreamClose(errors.ToStreamClose(sentinel))
		for otherName, other := range goSentinels {
			assert.Equal(t, name == otherName, errors.Is(answered, other), "%s is %s", name, otherName)
			assert.Equal(t, name == otherName, errors.Is(closed, other), "%s is %s", name, otherName)
		}
	}
}

func TestSentinels_NeedCodeAndText(t *testing.T) {
	t.Parallel()
	assert.False(t, errors.Is(errors.FromWire(errors.Internal, "request canceled", nil), errors.ErrRequestCanceled))
	assert.False(t, errors.Is(errors.FromWire(errors.Canceled, "request cancelled", nil), errors.ErrRequestCanceled))
	assert.False(t, errors.Is(errors.NewErrorf(errors.Canceled, "request canceled"), errors.ErrRequestCanceled),
		"an error made here is not matched by its text")
}

// This package must be able to create every error that psrpc's client creates.
func TestSentinels_MadeByClient(t *testing.T) {
	t.Parallel()
	some := errors.New("a text of its own")
	made := map[string]errors.Error{
		"require_claim, no acceptable claim came in time, none at all":             errors.ErrNoResponse,
		"require_claim, claims came but none was acceptable (n counts all claims)": errors.NewErrorf(errors.Unavailable, "no servers available (received %s responses)", "n"),
		"require_claim, no winner, and an error Response had come":                 errors.FromWire("that of the Response", "that of the Response", nil),
		"request timeout after the claim phase, or with no claim phase":            errors.FromContext(context.DeadlineExceeded),
		"context cancelled after the claim phase, or with no claim phase":          errors.FromContext(context.Canceled),
		"request or context ends inside the claim phase":                           errors.ErrNoResponse,
		"raw_response cannot be decoded":                                           errors.NewError(errors.MalformedResponse, some),
		"request cannot be encoded":                                                errors.NewError(errors.MalformedRequest, some),
		"publish fails":                                                            errors.NewError(errors.Internal, some),
		"the client is closed":                                                     errors.ErrClientClosed,
		"stream message not acked in time":                                         errors.ErrRequestTimedOut,
	}
	describesTheText := map[string]bool{"the decoder's own": true, "the encoder's own": true, "the bus's own": true}

	rows := readMeasured(t).MadeByClient
	require.Len(t, rows, len(made))
	for _, row := range rows {
		err, known := made[row.When]
		require.True(t, known, "no value for %q", row.When)
		assert.Equal(t, row.Code, string(err.Code()), row.When)
		if !describesTheText[row.Text] {
			assert.Equal(t, row.Text, err.Error(), row.When)
		}
	}
}
