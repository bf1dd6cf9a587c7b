package errors_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestFromContext_IsBothErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		err      error
		sentinel errors.Error
		cause    error
	}{
		{"canceled", context.Canceled, errors.ErrRequestCanceled, context.Canceled},
		{"deadline", context.DeadlineExceeded, errors.ErrRequestTimedOut, context.DeadlineExceeded},
		{"wrapped deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), errors.ErrRequestTimedOut, context.DeadlineExceeded},
	} {
		err := errors.FromContext(test.err)
		assert.Equal(t, test.sentinel.Code(), err.Code(), test.name)
		assert.Equal(t, test.sentinel.Error(), err.Error(), test.name)
		assert.True(t, errors.Is(err, test.sentinel), test.name)
		assert.True(t, errors.Is(err, test.cause), test.name)

		withFacts := errors.WithFacts(err, errors.CallFacts{Reason: errors.ReasonDeadline})
		assert.True(t, errors.Is(withFacts, test.sentinel), test.name)
		assert.True(t, errors.Is(withFacts, test.cause), test.name)
	}
}

func TestFromContext_OtherErrors(t *testing.T) {
	t.Parallel()
	require.NoError(t, errors.FromContext(nil))

	plain := errors.FromContext(io.EOF)
	assert.Equal(t, errors.Unknown, plain.Code())
	require.EqualError(t, plain, "EOF")
	assert.True(t, errors.Is(plain, io.EOF))

	coded := errors.FromContext(fmt.Errorf("cause: %w", errors.ErrClientClosed))
	assert.Equal(t, errors.Canceled, coded.Code())
	require.EqualError(t, coded, "cause: client is closed")
	assert.True(t, errors.Is(coded, errors.ErrClientClosed))
	assert.False(t, errors.Is(coded, errors.ErrRequestCanceled))
}
