package testkit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Soon returns the next value received from signal, or the zero value if signal is closed. If
// nothing is received within [Patience], Soon fails the test. description names the missing value
// in the failure message.
func Soon[T any](tb testing.TB, signal <-chan T, description string) (value T) {
	tb.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case value = <-signal:
	case <-timer.C:
		require.FailNow(tb, "did not come: "+description)
	}
	return value
}

// Eventually waits until condition returns true. If that takes longer than [Patience], Eventually
// fails the test with the given message.
func Eventually(tb testing.TB, condition func() bool, message string) {
	tb.Helper()
	require.Eventually(tb, condition, Patience, time.Millisecond, message)
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
