package errors

import (
	"net/http"

	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
)

// fromGrpc maps gRPC codes to the codes of this package. It is indexed by the gRPC code.
var fromGrpc = [...]ErrorCode{
	codes.OK:                 OK,
	codes.Canceled:           Canceled,
	codes.Unknown:            Unknown,
	codes.InvalidArgument:    InvalidArgument,
	codes.DeadlineExceeded:   DeadlineExceeded,
	codes.NotFound:           NotFound,
	codes.AlreadyExists:      AlreadyExists,
	codes.PermissionDenied:   PermissionDenied,
	codes.ResourceExhausted:  ResourceExhausted,
	codes.FailedPrecondition: FailedPrecondition,
	codes.Aborted:            Aborted,
	codes.OutOfRange:         OutOfRange,
	codes.Unimplemented:      Unimplemented,
	codes.Internal:           Internal,
	codes.Unavailable:        Unavailable,
	codes.DataLoss:           DataLoss,
	codes.Unauthenticated:    Unauthenticated,
}

// CodeFromGrpc returns the code that corresponds to a gRPC code. It returns [Unknown] if gRPC does
// not define the code.
func CodeFromGrpc(code codes.Code) ErrorCode {
	if int(code) < len(fromGrpc) {
		return fromGrpc[code]
	}
	return Unknown
}

// CodeFromTwirp returns the code that corresponds to a Twirp code. It returns [MalformedRequest]
// for twirp.Malformed, [Unimplemented] for twirp.BadRoute, and [Unknown] if Twirp does not define
// the code.
func CodeFromTwirp(code twirp.ErrorCode) ErrorCode {
	switch code {
	case twirp.Malformed:
		return MalformedRequest
	case twirp.BadRoute:
		return Unimplemented
	}
	if twirp.IsValidErrorCode(code) {
		// All other codes have the same value in Twirp and in this package.
		return ErrorCode(code)
	}
	return Unknown
}

// CodeFromHttp returns the code that best matches an HTTP status. It returns [OK] for any status
// from 200 to 299. If several codes match, it returns the most common one; if none matches, it
// returns [Unknown].
func CodeFromHttp(status int) ErrorCode {
	if status >= 200 && status < 300 {
		return OK
	}
	if code, ok := fromHTTP[status]; ok {
		return code
	}
	return Unknown
}

// statusClientClosedRequest is the status that proxies log if a client disconnects before it
// receives the response. Package net/http has no constant for it.
const statusClientClosedRequest = 499

var fromHTTP = map[int]ErrorCode{
	http.StatusBadRequest:                   InvalidArgument,
	http.StatusUnauthorized:                 Unauthenticated,
	http.StatusForbidden:                    PermissionDenied,
	http.StatusNotFound:                     NotFound,
	http.StatusNotAcceptable:                NotAcceptable,
	http.StatusRequestTimeout:               DeadlineExceeded,
	http.StatusConflict:                     AlreadyExists,
	http.StatusPreconditionFailed:           FailedPrecondition,
	http.StatusRequestedRangeNotSatisfiable: OutOfRange,
	http.StatusUnprocessableEntity:          UnprocessableEntity,
	http.StatusFailedDependency:             UpstreamClientError,
	http.StatusTooManyRequests:              ResourceExhausted,
	statusClientClosedRequest:               Canceled,
	http.StatusInternalServerError:          Internal,
	http.StatusNotImplemented:               Unimplemented,
	http.StatusBadGateway:                   UpstreamServerError,
	http.StatusServiceUnavailable:           Unavailable,
	http.StatusGatewayTimeout:               DeadlineExceeded,
}
