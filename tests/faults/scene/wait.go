package scene

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Soon waits for what must come on a channel. A closed channel counts as the zero value.
func Soon[T any](tb testing.TB, signal <-chan T, what string) (value T) {
	tb.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case value = <-signal:
	case <-timer.C:
		require.FailNow(tb, "did not come: "+what)
	}
	return value
}

// Eventually waits until what another goroutine brings about holds.
func Eventually(tb testing.TB, holds func() bool, what string) {
	tb.Helper()
	require.Eventually(tb, holds, Patience, time.Millisecond, what)
}

// Code returns the code of an error, OK for nil. An error without a code has none of the codes.
func Code(err error) errors.ErrorCode {
	if err == nil {
		return errors.OK
	}
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return coded.Code()
	}
	return errors.ErrorCode("no code: " + err.Error())
}
