package scene

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Soon returns the next value of a channel, or the zero value of a closed one. It fails the test
// after the timeout Patience.
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

// Eventually waits until holds returns true. It fails the test after the timeout Patience.
func Eventually(tb testing.TB, holds func() bool, what string) {
	tb.Helper()
	require.Eventually(tb, holds, Patience, time.Millisecond, what)
}

// Code returns the code of an error, OK for nil. For an error without a code, Code returns a value
// that equals no code.
func Code(err error) errors.ErrorCode {
	if err == nil {
		return errors.OK
	}
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return coded.Code()
	}
	return errors.ErrorCode("no code: " + err.Error())
}
