package guest

// Code classifies an error. The constants have the same meaning as those in package errors of
// dynpsrpc. Other codes may also be used if they consist of at most 64 lower-case letters, digits
// and underscores.
type Code string

// These are the codes defined in package errors.
const (
	Canceled            Code = "canceled"
	MalformedRequest    Code = "malformed_request"
	MalformedResponse   Code = "malformed_result"
	DeadlineExceeded    Code = "deadline_exceeded"
	Unavailable         Code = "unavailable"
	Unknown             Code = "unknown"
	InvalidArgument     Code = "invalid_argument"
	NotFound            Code = "not_found"
	NotAcceptable       Code = "not_acceptable"
	AlreadyExists       Code = "already_exists"
	PermissionDenied    Code = "permission_denied"
	ResourceExhausted   Code = "resource_exhausted"
	FailedPrecondition  Code = "failed_precondition"
	Aborted             Code = "aborted"
	OutOfRange          Code = "out_of_range"
	Unimplemented       Code = "unimplemented"
	Internal            Code = "internal"
	DataLoss            Code = "data_loss"
	Unauthenticated     Code = "unauthenticated"
	UnprocessableEntity Code = "unprocessable_entity"
	UpstreamServerError Code = "upstream_server_error"
	UpstreamClientError Code = "upstream_client_error"
)
