package guest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func newTable(handlers map[string]Handler) *handlerTable {
	t := &handlerTable{}
	for method, handler := range handlers {
		t.add(method, handler)
	}
	return t
}

func never(context.Context, []byte) ([]byte, error) { panic("not called") }

func soon() time.Time { return time.Now().Add(time.Minute) }

func TestHandlerTable_IndexesDoNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	for range 20 { // repeated, because the order of a map is random
		table := newTable(map[string]Handler{"a.B/C": never, "a.B/A": never, "a.A/Z": never, "b/B": never})
		require.Equal(t, "a.A/Z\na.B/A\na.B/C\nb/B", table.describe())
	}
	twice := newTable(map[string]Handler{"a.B/C": never})
	twice.add("a.B/C", never)
	assert.Equal(t, strings.Repeat("\na.B/C", 2)[1:], twice.describe(), "the host says that it is wrong")
}

func TestHandlerTable_Call(t *testing.T) {
	t.Parallel()
	deadline := soon()
	var kept context.Context
	table := newTable(map[string]Handler{
		"a.B/Echo": func(ctx context.Context, request []byte) ([]byte, error) {
			kept = ctx
			got, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, deadline, got)
			assert.NoError(t, ctx.Err())
			return request, nil
		},
		"a.B/Fail":  func(context.Context, []byte) ([]byte, error) { return []byte("left out"), errors.New("failed") },
		"a.B/Panic": func(context.Context, []byte) ([]byte, error) { panic("secret") },
	})
	response, failed := table.call(0, []byte("hello"), deadline)
	assert.False(t, failed)
	assert.Equal(t, "hello", string(response))
	assert.ErrorIs(t, kept.Err(), context.Canceled, "the request is over")

	for index, text := range map[int]string{
		1:  "\x07\x00\x00\x00unknown\x06\x00\x00\x00failed",
		2:  "\x08\x00\x00\x00internal\x21\x00\x00\x00the handler of a.B/Panic panicked",
		3:  "\x0d\x00\x00\x00unimplemented\x16\x00\x00\x00there is no method 3",
		-1: "\x0d\x00\x00\x00unimplemented\x17\x00\x00\x00there is no method -1",
	} {
		response, failed = table.call(index, nil, deadline)
		assert.True(t, failed)
		if index < 0 || index > 2 {
			assert.Contains(t, string(response), fmt.Sprintf("there is no method %d", index))
			continue
		}
		assert.Equal(t, text, string(response))
	}
}

func TestEncodeError_FindsTheErrorAndItsDetails(t *testing.T) {
	t.Parallel()
	coded := &Error{Code: NotFound, Err: errors.New("gone"), Details: []Detail{{TypeURL: "t/a.B", Value: []byte{1, 2}}}}
	wanted := "\x09\x00\x00\x00not_found\x04\x00\x00\x00gone\x05\x00\x00\x00t/a.B\x02\x00\x00\x00\x01\x02"
	for _, err := range []error{
		coded,
		fmt.Errorf("around it: %w", coded),
		errors.Join(errors.New("another"), fmt.Errorf("deep: %w", coded)),
	} {
		assert.Equal(t, wanted, string(encodeError(err)))
	}
	cause := errors.New("cause")
	assert.ErrorIs(t, Errorf(Aborted, "because: %w", cause), cause)
	assert.Equal(t, "\x07\x00\x00\x00unknown\x00\x00\x00\x00", string(encodeError(&Error{})), "the zero value is an error too")
}

// TestCode_IsThatOfTheHost checks that the codes of package guest equal those of package errors,
// which package guest does not import.
func TestCode_IsThatOfTheHost(t *testing.T) {
	t.Parallel()
	for code, wanted := range map[Code]errors.ErrorCode{
		Canceled: errors.Canceled, MalformedRequest: errors.MalformedRequest, MalformedResponse: errors.MalformedResponse,
		DeadlineExceeded: errors.DeadlineExceeded, Unavailable: errors.Unavailable, Unknown: errors.Unknown,
		InvalidArgument: errors.InvalidArgument, NotFound: errors.NotFound, NotAcceptable: errors.NotAcceptable,
		AlreadyExists: errors.AlreadyExists, PermissionDenied: errors.PermissionDenied,
		ResourceExhausted: errors.ResourceExhausted, FailedPrecondition: errors.FailedPrecondition, Aborted: errors.Aborted,
		OutOfRange: errors.OutOfRange, Unimplemented: errors.Unimplemented, Internal: errors.Internal, DataLoss: errors.DataLoss,
		Unauthenticated: errors.Unauthenticated, UnprocessableEntity: errors.UnprocessableEntity,
		UpstreamServerError: errors.UpstreamServerError, UpstreamClientError: errors.UpstreamClientError,
	} {
		assert.Equal(t, string(wanted), string(code))
	}
}
