package errors

import (
	"net/http"

	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
)

// ErrorCode classifies an error. Its value is the string that is sent over the bus.
//
// Programs may define their own codes, which are sent unchanged. If such a code is converted to
// gRPC, HTTP or Twirp, it is treated as [Unknown].
type ErrorCode string

const (
	// OK is the empty string and means success. If an error with this code is sent, the caller
	// receives it with the code [Unknown].
	OK ErrorCode = ""
	// Canceled means that the caller canceled the call, or that the client or server was closed.
	Canceled ErrorCode = "canceled"
	// MalformedRequest means that a request could not be encoded or decoded.
	MalformedRequest ErrorCode = "malformed_request"
	// MalformedResponse means that a response could not be encoded or decoded. As in psrpc, its
	// value is "malformed_result".
	MalformedResponse ErrorCode = "malformed_result"
	// DeadlineExceeded means that a response or an acknowledgement did not arrive in time.
	DeadlineExceeded ErrorCode = "deadline_exceeded"
	// Unavailable means that no server could handle the request. A retry may succeed.
	Unavailable ErrorCode = "unavailable"
	// Unknown is the code of errors that were created without a code. If a code of another protocol
	// has no counterpart in this package, it is also converted to Unknown.
	Unknown ErrorCode = "unknown"
	// InvalidArgument means that the request is invalid, regardless of the state of the system.
	InvalidArgument ErrorCode = "invalid_argument"
	// NotFound means that an entity named in the request does not exist.
	NotFound ErrorCode = "not_found"
	// NotAcceptable means that the server cannot respond in the form that the client requested.
	NotAcceptable ErrorCode = "not_acceptable"
	// AlreadyExists means that an entity that the request should create already exists.
	AlreadyExists ErrorCode = "already_exists"
	// PermissionDenied means that the caller is known but not allowed to make the call.
	PermissionDenied ErrorCode = "permission_denied"
	// ResourceExhausted means that a quota or rate limit was exceeded, or that a queue is full.
	ResourceExhausted ErrorCode = "resource_exhausted"
	// FailedPrecondition means that the system is not in the state that the request requires.
	FailedPrecondition ErrorCode = "failed_precondition"
	// Aborted means that the request conflicted with a concurrent operation.
	Aborted ErrorCode = "aborted"
	// OutOfRange means that the request goes beyond the valid range.
	OutOfRange ErrorCode = "out_of_range"
	// Unimplemented means that the server does not implement the method.
	Unimplemented ErrorCode = "unimplemented"
	// Internal means that the server or the bus failed in an unexpected way.
	Internal ErrorCode = "internal"
	// DataLoss means that data was irrecoverably lost or corrupted.
	DataLoss ErrorCode = "data_loss"
	// Unauthenticated means that the caller could not be identified.
	Unauthenticated ErrorCode = "unauthenticated"
	// UnprocessableEntity means that the request is well-formed but cannot be processed.
	UnprocessableEntity ErrorCode = "unprocessable_entity"
	// UpstreamServerError means that a system called by the server failed.
	UpstreamServerError ErrorCode = "upstream_server_error"
	// UpstreamClientError means that a system called by the server rejected the server's call.
	UpstreamClientError ErrorCode = "upstream_client_error"
)

// codeMapping contains the counterparts of a code in other protocols.
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

// Known reports whether c is one of the codes defined in this package. Programs may define other
// codes, and a code received over the bus can be any string.
func (c ErrorCode) Known() bool {
	_, known := codeMappings[c]
	return known
}

// Error returns c as a string. If a handler returns an ErrorCode as its error, the caller receives
// an error with the code [Unknown], as in psrpc; the ErrorCode becomes its text. Use [NewError] to
// create an error that has the code c.
func (c ErrorCode) Error() string { return string(c) }

// ToHttp returns the HTTP status for c, or 500 if this package does not define c.
func (c ErrorCode) ToHttp() int { return c.mapping().http }

// ToGrpc returns the gRPC code for c, or codes.Unknown if this package does not define c.
func (c ErrorCode) ToGrpc() codes.Code { return c.mapping().grpc }

// ToTwirp returns the Twirp code for c, or twirp.Unknown if this package does not define c.
func (c ErrorCode) ToTwirp() twirp.ErrorCode { return c.mapping().twirp }

func (c ErrorCode) mapping() codeMapping {
	if t, ok := codeMappings[c]; ok {
		return t
	}
	return codeMappings[Unknown]
}
