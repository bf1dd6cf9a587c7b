package scene

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Soon returns the next value received from signal, or the zero value if signal is closed. If
// nothing is received within [Patience], Soon fails the test with a message that contains what.
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

// Eventually waits until holds returns true. If holds does not return true within [Patience],
// Eventually fails the test with the message what.
func Eventually(tb testing.TB, holds func() bool, what string) {
	tb.Helper()
	require.Eventually(tb, holds, Patience, time.Millisecond, what)
}

// Code returns the code of err, or [errors.OK] if err is nil. If err has no code, Code returns a
// value that is different from every valid code.
func Code(err error) errors.ErrorCode {
	if err == nil {
		return errors.OK
	}
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return coded.Code()
	}
	return errors.ErrorCode("no code: " + err.Error())
}
