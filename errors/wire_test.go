package errors_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// statusCarrier is a user-defined error type with a gRPC status.
//
//nolint:errname // error types of other libraries may have any name
type statusCarrier struct{ status *status.Status }

func (statusCarrier) Error() string                { return "own type with status" }
func (e statusCarrier) GRPCStatus() *status.Status { return e.status }

func statusWithDetails() error {
	s, err := status.New(codes.NotFound, "status text").
		WithDetails(protoadapt.MessageV1Of(wrapperspb.String("d1")), protoadapt.MessageV1Of(durationpb.New(time.Second)))
	if err != nil {
		return err
	}
	return s.Err()
}

// returnedBuilders returns the Go errors for which psrpc's behavior was recorded, keyed by their
// descriptions in testdata/errors.json.
func returnedBuilders() map[string]error {
	inner := errors.NewError(errors.NotFound, errors.New("inner text"), wrapperspb.String("d1"))
	return map[string]error{
		"psrpc error": errors.NewErrorf(errors.InvalidArgument, "bad arg"),
		"psrpc error with two details": errors.NewError(errors.NotFound, errors.New("text"),
			wrapperspb.String("d1"), durationpb.New(time.Second)),
		"psrpc error around a wrapped cause":        errors.NewErrorf(errors.Internal, "while x: %w", io.EOF),
		"psrpc error around another psrpc error":    errors.NewError(errors.Internal, inner),
		"psrpc error with an own code string":       errors.NewErrorf("my_own_code", "own"),
		"psrpc error with the empty code (OK)":      errors.NewErrorf(errors.OK, "text but code OK"),
		"psrpc error with an empty text":            errors.NewErrorf(errors.Internal, ""),
		"psrpc error wrapped with fmt.Errorf %w":    fmt.Errorf("outer: %w", inner),
		"errors.Join of a plain and a psrpc error":  errors.Join(errors.New("plain"), inner),
		"errors.Join of a psrpc and a gRPC error":   errors.Join(inner, status.Error(codes.Aborted, "second")),
		"psrpc error code used as the error itself": errors.NotFound,
		"plain error":                                       errors.New("plain failure"),
		"plain error with an empty text":                    errors.New(""),
		"context.Canceled":                                  context.Canceled,
		"context.DeadlineExceeded":                          context.DeadlineExceeded,
		"io.EOF":                                            io.EOF,
		"gRPC status error":                                 status.Error(codes.NotFound, "status text"),
		"gRPC status error with details":                    statusWithDetails(),
		"gRPC status error with an empty text":              status.Error(codes.NotFound, ""),
		"gRPC status error with an unknown number":          status.Error(77, "number 77"),
		"gRPC status error wrapped with fmt.Errorf %w":      fmt.Errorf("outer: %w", statusWithDetails()),
		"own error type with a GRPCStatus method":           statusCarrier{status.New(codes.Aborted, "text inside the status")},
		"own error type with a GRPCStatus method giving OK": statusCarrier{status.New(codes.OK, "")},
		"status.FromContextError of a deadline":             status.FromContextError(context.DeadlineExceeded).Err(),
		"twirp error":                                       twirp.NotFoundError("twirp text"),
		"twirp error wrapped":                               twirp.InternalErrorWith(inner),
		"psrpc.ErrRequestTimedOut":                          errors.ErrRequestTimedOut,
		"psrpc.ErrUnimplemented":                            errors.ErrUnimplemented,
		"nil error, nil message":                            nil,
		"a panic, with the recovery interceptor (without it the process dies)": errors.NewErrorf(errors.Internal,
			"Caught server panic. Stack trace:\n<the stack trace follows>"),
	}
}

// psrpc sends these errors with an empty text. A psrpc client would interpret an empty text as a
// success. This package therefore sends the code as the text.
var neverEmpty = map[string]string{
	"psrpc error with an empty text":       "internal",
	"plain error with an empty text":       "unknown",
	"gRPC status error with an empty text": "not_found",
}

func TestToWire_Measured(t *testing.T) {
	t.Parallel()
	builders := returnedBuilders()
	rows := readMeasured(t).ReturnedErrors
	require.Len(t, rows, len(builders))
	for _, row := range rows {
		t.Run(row.Returned, func(t *testing.T) {
			t.Parallel()
			returned, known := builders[row.Returned]
			require.True(t, known, "no builder for this row")
			if returned != nil && row.GoErrorText != "" {
				require.EqualError(t, returned, row.GoErrorText)
			}
			checkResponse(t, row, returned)
			checkStreamClose(t, row, returned)
		})
	}
}

func checkResponse(t *testing.T, row returnedError, returned error) {
	t.Helper()
	want := row.Response
	if text, deviates := neverEmpty[row.Returned]; deviates {
		require.Empty(t, want.Error, "psrpc sends a text: no need to deviate")
		want.Error = text
	}
	code, text, details := errors.ToWire(returned)
	assert.Equal(t, want, wireError{Code: code, Error: text, Details: wireDetails(details)})
	assert.Equal(t, returned == nil, text == "", "an empty text means success")

	got := errors.FromWire(code, text, details)
	switch {
	case row.ClientGets == nil: // the client's result was not recorded
	case neverEmpty[row.Returned] != "":
		assert.Nil(t, row.ClientGets.Error, "psrpc's client sees a failure: no need to deviate")
		require.Error(t, got)
		assert.Equal(t, code, got.Code())
	case row.ClientGets.Error == nil:
		require.NoError(t, got)
	default:
		seen := clientError{Code: got.Code(), Message: got.Error(), Details: wireDetails(got.DetailsProto())}
		assert.Equal(t, *row.ClientGets.Error, seen)
	}
}

func checkStreamClose(t *testing.T, row returnedError, returned error) {
	t.Helper()
	if row.StreamClose == nil {
		return // nothing was recorded
	}
	wantSent, wantGot := *row.StreamClose, *row.StreamGets
	if wantSent.Error == "" {
		wantSent.Error = neverEmpty[row.Returned]
		wantGot.Message = neverEmpty[row.Returned]
	}
	code, text := errors.ToStreamClose(returned)
	assert.Equal(t, wantSent, wireError{Code: code, Error: text})
	got := errors.FromStreamClose(code, text)
	assert.Equal(t, wantGot, clientError{Code: got.Code(), Message: got.Error()})
}

func TestToWire_NeverSendsEmptyOrBadText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
		text string
	}{
		{"neither code nor text", errors.NewError(errors.OK, nil), "unknown"},
		{"not UTF-8", errors.New("file \xff\xfe missing"), "file \uFFFD missing"},
		{"own code, no text", errors.NewErrorf("my_own_code", ""), "my_own_code"},
	} {
		_, text, _ := errors.ToWire(test.err)
		assert.Equal(t, test.text, text, test.name)
		_, text = errors.ToStreamClose(test.err)
		assert.Equal(t, test.text, text, test.name)
	}
}

func TestFromWire_EmptyFields(t *testing.T) {
	t.Parallel()
	require.NoError(t, errors.FromWire(errors.Internal, "", nil))
	assert.Equal(t, errors.Unknown, errors.FromWire("", "text", nil).Code())

	// A psrpc peer may close a stream with an error that has an empty text. The error on the other
	// side must still have a text.
	closed := errors.FromStreamClose(errors.Internal, "")
	assert.Equal(t, errors.Internal, closed.Code())
	require.EqualError(t, closed, "internal")
	closed = errors.FromStreamClose("", "")
	assert.Equal(t, errors.Unknown, closed.Code())
	require.EqualError(t, closed, "unknown")
}

func TestFromWire_ForwardedByAnotherHandler(t *testing.T) {
	t.Parallel()
	details := []*anypb.Any{pack(t, wrapperspb.String("d1"))}
	received := errors.FromWire("my_own_code", "text", details)
	for name, returned := range map[string]error{
		"as it is": received,
		"wrapped":  fmt.Errorf("calling the other: %w", received),
	} {
		code, text, sent := errors.ToWire(returned)
		assert.Equal(t, errors.ErrorCode("my_own_code"), code, name)
		assert.Equal(t, "text", text, name)
		assert.Equal(t, wireDetails(details), wireDetails(sent), name)
	}
}

func FuzzFromWire_RoundTrip(f *testing.F) {
	f.Add("not_found", "text", "type.googleapis.com/google.protobuf.StringValue", []byte{0x0a, 0x02, 0x64, 0x31})
	f.Add("", "text but code OK", "", []byte(nil))
	f.Add("internal", "", "type.googleapis.com/not.Linked", []byte{0xff})
	f.Add("canceled", "stream closed", "/", []byte("x"))
	f.Add("my own", "bad \xff text", "", []byte{})
	f.Fuzz(func(t *testing.T, code, text, typeURL string, value []byte) {
		detail := &anypb.Any{TypeUrl: typeURL, Value: value}
		sent := errors.NewError(errors.ErrorCode(code), errors.New(text), detail)

		wireCode, wireText, wireDetails := errors.ToWire(sent)
		require.NotEmpty(t, wireText)
		require.True(t, utf8.ValidString(wireText))
		if text != "" && utf8.ValidString(text) {
			require.Equal(t, text, wireText)
		}

		got := errors.FromWire(wireCode, wireText, wireDetails)
		require.Error(t, got)
		require.Equal(t, wireText, got.Error())
		if code == "" {
			require.Equal(t, errors.Unknown, got.Code())
		} else {
			require.Equal(t, errors.ErrorCode(code), got.Code())
		}
		require.Len(t, got.DetailsProto(), 1)
		require.True(t, proto.Equal(detail, got.DetailsProto()[0]))
		require.Len(t, got.Details(), 1)
		require.Error(t, got.ToGrpc())

		// If the error is sent again by another server, it must not lose any information.
		code2, text2, details2 := errors.ToWire(got)
		require.Equal(t, got.Code(), code2)
		require.Equal(t, got.Error(), text2)
		require.Equal(t, got.DetailsProto(), details2)
	})
}
