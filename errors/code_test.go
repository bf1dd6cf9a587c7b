package errors_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// goCodes maps the names of codes in the recorded psrpc data to the constants of this package.
var goCodes = map[string]errors.ErrorCode{
	"OK":                  errors.OK,
	"Canceled":            errors.Canceled,
	"MalformedRequest":    errors.MalformedRequest,
	"MalformedResponse":   errors.MalformedResponse,
	"DeadlineExceeded":    errors.DeadlineExceeded,
	"Unavailable":         errors.Unavailable,
	"Unknown":             errors.Unknown,
	"InvalidArgument":     errors.InvalidArgument,
	"NotFound":            errors.NotFound,
	"NotAcceptable":       errors.NotAcceptable,
	"AlreadyExists":       errors.AlreadyExists,
	"PermissionDenied":    errors.PermissionDenied,
	"ResourceExhausted":   errors.ResourceExhausted,
	"FailedPrecondition":  errors.FailedPrecondition,
	"Aborted":             errors.Aborted,
	"OutOfRange":          errors.OutOfRange,
	"Unimplemented":       errors.Unimplemented,
	"Internal":            errors.Internal,
	"DataLoss":            errors.DataLoss,
	"Unauthenticated":     errors.Unauthenticated,
	"UnprocessableEntity": errors.UnprocessableEntity,
	"UpstreamServerError": errors.UpstreamServerError,
	"UpstreamClientError": errors.UpstreamClientError,
	"(any other string)":  "no_such_code",
}

func TestErrorCode_MeasuredTranslations(t *testing.T) {
	t.Parallel()
	rows := readMeasured(t).Codes
	require.Len(t, rows, len(goCodes))
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			code, known := goCodes[row.Name]
			require.True(t, known, "no constant for this row")
			assert.Equal(t, row.Code, code)
			assert.Equal(t, string(row.Code), code.Error())
			assert.Equal(t, row.HTTP, code.ToHttp())
			assert.Equal(t, codes.Code(row.Grpc), code.ToGrpc())
			assert.Equal(t, twirp.ErrorCode(row.Twirp), code.ToTwirp())
			assert.Equal(t, row.BackFromGrpc, errors.CodeFromGrpc(code.ToGrpc()))

			err := errors.NewError(code, errors.New("text"))
			assert.Equal(t, code, err.Code())
			assert.Equal(t, row.HTTP, err.ToHttp())
			assert.Equal(t, codes.Code(row.Grpc), err.GRPCStatus().Code())
			require.Error(t, err.ToGrpc())
			assert.Equal(t, codes.Code(row.Grpc), status.Code(err.ToGrpc()))
		})
	}
}

func TestCodeFromGrpc_Measured(t *testing.T) {
	t.Parallel()
	rows := readMeasured(t).GrpcToCode
	require.NotEmpty(t, rows)
	for _, row := range rows {
		assert.Equal(t, row.Code, errors.CodeFromGrpc(codes.Code(row.Grpc)), "gRPC code %d", row.Grpc)
	}
	assert.Equal(t, errors.Unknown, errors.CodeFromGrpc(1<<32-1))
}

func TestCodeFromTwirp_KeepsMeaning(t *testing.T) {
	t.Parallel()
	for name, code := range goCodes {
		there := code.ToTwirp()
		assert.Equal(t, there, errors.CodeFromTwirp(there).ToTwirp(), name)
	}
	for there, want := range map[twirp.ErrorCode]errors.ErrorCode{
		twirp.NoError:     errors.OK,
		twirp.Malformed:   errors.MalformedRequest,
		twirp.BadRoute:    errors.Unimplemented,
		twirp.NotFound:    errors.NotFound,
		twirp.DataLoss:    errors.DataLoss,
		"not_a_twirp_one": errors.Unknown,
		"not_acceptable":  errors.Unknown, // defined by this package but not by Twirp
	} {
		assert.Equal(t, want, errors.CodeFromTwirp(there), "twirp code %q", there)
	}
}

func TestCodeFromHttp_KeepsMeaning(t *testing.T) {
	t.Parallel()
	for name, code := range goCodes {
		there := code.ToHttp()
		assert.Equal(t, there, errors.CodeFromHttp(there).ToHttp(), name)
	}
	for there, want := range map[int]errors.ErrorCode{
		http.StatusOK:                  errors.OK,
		http.StatusNoContent:           errors.OK,
		http.StatusMultipleChoices:     errors.Unknown,
		http.StatusBadRequest:          errors.InvalidArgument,
		http.StatusRequestTimeout:      errors.DeadlineExceeded,
		http.StatusConflict:            errors.AlreadyExists,
		499:                            errors.Canceled,
		http.StatusInternalServerError: errors.Internal,
		http.StatusServiceUnavailable:  errors.Unavailable,
		http.StatusGatewayTimeout:      errors.DeadlineExceeded,
		http.StatusTeapot:              errors.Unknown,
		0:                              errors.Unknown,
		-1:                             errors.Unknown,
	} {
		assert.Equal(t, want, errors.CodeFromHttp(there), "HTTP status %d", there)
	}
}

func TestErrorCode_Known(t *testing.T) {
	t.Parallel()
	assert.True(t, errors.OK.Known())
	assert.True(t, errors.UpstreamClientError.Known())
	assert.False(t, errors.ErrorCode("made_up").Known())
}
