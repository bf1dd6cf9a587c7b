package errors

import (
	"net/http"

	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
)

// ErrorCode says what kind of failure an error is. Its value is the string that goes over the bus.
//
// A code is free text: own strings may be used and arrive unchanged. Where one has to be translated, to
// gRPC, HTTP or Twirp, it counts as [Unknown].
type ErrorCode string

const (
	// OK is the code of success: the empty string. An error that carries it arrives as [Unknown].
	OK ErrorCode = ""
	// Canceled means the caller gave up, or one side was closed.
	Canceled ErrorCode = "canceled"
	// MalformedRequest means a request could not be encoded or decoded.
	MalformedRequest ErrorCode = "malformed_request"
	// MalformedResponse means a response could not be encoded or decoded. Mind its string: psrpc says
	// "result" on the wire, not "response".
	MalformedResponse ErrorCode = "malformed_result"
	// DeadlineExceeded means the answer, or an acknowledgement, did not come in time.
	DeadlineExceeded ErrorCode = "deadline_exceeded"
	// Unavailable means there was no server to take the request; it may help to try again.
	Unavailable ErrorCode = "unavailable"
	// Unknown is the code of every error that names none, or names one that has no translation.
	Unknown ErrorCode = "unknown"
	// InvalidArgument means the request is wrong, whatever the state of the system.
	InvalidArgument ErrorCode = "invalid_argument"
	// NotFound means something the request names does not exist.
	NotFound ErrorCode = "not_found"
	// NotAcceptable means the server cannot answer in the way the request asks for.
	NotAcceptable ErrorCode = "not_acceptable"
	// AlreadyExists means something the request was to create is there already.
	AlreadyExists ErrorCode = "already_exists"
	// PermissionDenied means the caller is known, but not allowed to do this.
	PermissionDenied ErrorCode = "permission_denied"
	// ResourceExhausted means a quota, a rate limit or a queue is full.
	ResourceExhausted ErrorCode = "resource_exhausted"
	// FailedPrecondition means the system is not in the state the request needs.
	FailedPrecondition ErrorCode = "failed_precondition"
	// Aborted means a conflict with something done at the same time.
	Aborted ErrorCode = "aborted"
	// OutOfRange means the request goes past the end of what is there.
	OutOfRange ErrorCode = "out_of_range"
	// Unimplemented means the server does not have this method.
	Unimplemented ErrorCode = "unimplemented"
	// Internal means the server, or the bus, has failed in a way that should not happen.
	Internal ErrorCode = "internal"
	// DataLoss means data is lost or damaged for good.
	DataLoss ErrorCode = "data_loss"
	// Unauthenticated means it is not known who the caller is.
	Unauthenticated ErrorCode = "unauthenticated"
	// UnprocessableEntity means the request is well formed, but makes no sense.
	UnprocessableEntity ErrorCode = "unprocessable_entity"
	// UpstreamServerError means a system that the server itself calls has failed.
	UpstreamServerError ErrorCode = "upstream_server_error"
	// UpstreamClientError means a system that the server itself calls has refused the call.
	UpstreamClientError ErrorCode = "upstream_client_error"
)

// codeMapping is what a code is called elsewhere.
type codeMapping struct {
	http  int
	grpc  codes.Code
	twirp twirp.ErrorCode
}

var codeMappings = map[ErrorCode]codeMapping{
	OK:                  {http.StatusOK, codes.OK, twirp.NoError},
	Canceled:            {http.StatusServiceUnavailable, codes.Canceled, twirp.Canceled},
	MalformedRequest:    {http.StatusBadRequest, codes.InvalidArgument, twirp.Malformed},
	MalformedResponse:   {http.StatusInternalServerError, codes.Internal, twirp.Malformed},
	DeadlineExceeded:    {http.StatusServiceUnavailable, codes.DeadlineExceeded, twirp.DeadlineExceeded},
	Unavailable:         {http.StatusServiceUnavailable, codes.Unavailable, twirp.Unavailable},
	Unknown:             {http.StatusInternalServerError, codes.Unknown, twirp.Unknown},
	InvalidArgument:     {http.StatusBadRequest, codes.InvalidArgument, twirp.InvalidArgument},
	NotFound:            {http.StatusNotFound, codes.NotFound, twirp.NotFound},
	NotAcceptable:       {http.StatusNotAcceptable, codes.Unknown, twirp.Unknown},
	AlreadyExists:       {http.StatusConflict, codes.AlreadyExists, twirp.AlreadyExists},
	PermissionDenied:    {http.StatusForbidden, codes.PermissionDenied, twirp.PermissionDenied},
	ResourceExhausted:   {http.StatusTooManyRequests, codes.ResourceExhausted, twirp.ResourceExhausted},
	FailedPrecondition:  {http.StatusPreconditionFailed, codes.FailedPrecondition, twirp.FailedPrecondition},
	Aborted:             {http.StatusConflict, codes.Aborted, twirp.Aborted},
	OutOfRange:          {http.StatusRequestedRangeNotSatisfiable, codes.OutOfRange, twirp.OutOfRange},
	Unimplemented:       {http.StatusNotImplemented, codes.Unimplemented, twirp.Unimplemented},
	Internal:            {http.StatusInternalServerError, codes.Internal, twirp.Internal},
	DataLoss:            {http.StatusInternalServerError, codes.DataLoss, twirp.DataLoss},
	Unauthenticated:     {http.StatusUnauthorized, codes.Unauthenticated, twirp.Unauthenticated},
	UnprocessableEntity: {http.StatusUnprocessableEntity, codes.Unknown, twirp.Unknown},
	UpstreamServerError: {http.StatusBadGateway, codes.Internal, twirp.Internal},
	UpstreamClientError: {http.StatusFailedDependency, codes.InvalidArgument, twirp.InvalidArgument},
}

// Known reports whether c is one of the codes above. Others are a program's own, or what some peer has made up.
func (c ErrorCode) Known() bool {
	_, known := codeMappings[c]
	return known
}

// Error returns the code itself. A bare code can be used as an error, but it goes over the bus as a text
// with the code [Unknown], as it does in psrpc; use [NewError] to send a code.
func (c ErrorCode) Error() string { return string(c) }

// ToHttp returns the HTTP status for c. That of an own code is 500.
func (c ErrorCode) ToHttp() int { return c.mapping().http }

// ToGrpc returns the gRPC code for c. That of an own code is Unknown.
func (c ErrorCode) ToGrpc() codes.Code { return c.mapping().grpc }

// ToTwirp returns the Twirp code for c. That of an own code is twirp.Unknown.
func (c ErrorCode) ToTwirp() twirp.ErrorCode { return c.mapping().twirp }

func (c ErrorCode) mapping() codeMapping {
	if t, ok := codeMappings[c]; ok {
		return t
	}
	return codeMappings[Unknown]
}
