package errors

import (
	"net/http"

	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
)

// fromGrpc is indexed by the gRPC code.
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

// CodeFromGrpc returns the code for a gRPC code. It returns [Unknown] for a number that gRPC does
// not define.
func CodeFromGrpc(code codes.Code) ErrorCode {
	if int(code) < len(fromGrpc) {
		return fromGrpc[code]
	}
	return Unknown
}

// CodeFromTwirp returns the code for a Twirp code. It returns [MalformedRequest] for
// twirp.Malformed, [Unimplemented] for twirp.BadRoute, and [Unknown] for a code that Twirp does not
// define.
func CodeFromTwirp(code twirp.ErrorCode) ErrorCode {
	switch code {
	case twirp.Malformed:
		return MalformedRequest
	case twirp.BadRoute:
		return Unimplemented
	}
	if twirp.IsValidErrorCode(code) {
		return ErrorCode(code) // all other codes have the same string
	}
	return Unknown
}

// CodeFromHttp returns the code that matches an HTTP status best. It returns [OK] for each status
// from 200 to 299, the most common code for a status that matches several, and [Unknown] for a
// status that matches none.
func CodeFromHttp(status int) ErrorCode {
	if status >= 200 && status < 300 {
		return OK
	}
	if code, ok := fromHTTP[status]; ok {
		return code
	}
	return Unknown
}

// statusClientClosedRequest is the status that proxies log when the client has disconnected. It has
// no constant in net/http.
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
