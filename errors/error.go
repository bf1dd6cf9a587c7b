package errors

import (
	"fmt"

	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Error is an error with a code. It is immutable and safe for concurrent use.
//
// [Is] finds the code of an Error, as in errors.Is(err, errors.NotFound), and [As] and [AsType] can
// convert an Error to its ErrorCode. If an Error wraps another one, [Is] finds the codes of both.
//
// [As] can convert an Error to a twirp.Error with the same text and the corresponding Twirp code.
// The twirp.Error wraps the Error, so [Is] still finds the errors that the Error wraps.
type Error interface {
	error

	// Code returns the code with which the error was created or received.
	Code() ErrorCode

	// Details returns the decoded details. Each detail is a newly decoded proto.Message, which the
	// caller may modify. A detail that cannot be decoded, for example because the program contains
	// no Go type for it, is returned as the encoded *anypb.Any. The caller must not modify an
	// *anypb.Any.
	Details() []any

	// DetailsProto returns the encoded details, as they are sent over the bus. The caller must not
	// modify them.
	DetailsProto() []*anypb.Any

	// ToHttp returns the HTTP status for the code.
	ToHttp() int

	// ToGrpc returns a gRPC status error with the code, text and details. It never returns nil: if
	// the gRPC code is OK, it returns the Error itself.
	ToGrpc() error

	// GRPCStatus returns the gRPC status with the code, text and details. The gRPC status package
	// calls this method.
	GRPCStatus() *status.Status

	// Unwrap returns the error that this error wraps, or nil if there is none.
	Unwrap() error
}

// NewError returns an error with the given code, the text of err and the given details. The result
// wraps err. If err is nil, the code is used as the text.
//
// A detail of type *anypb.Any is sent unchanged. A detail that cannot be marshaled is omitted, so
// that it does not hide the error. Examples are nil and a message that contains a string with
// invalid UTF-8.
func NewError(code ErrorCode, err error, details ...proto.Message) Error {
	text := code.Error()
	if err != nil {
		text = err.Error()
	}
	return &codedError{code: code, text: text, cause: err, details: packDetails(details)}
}

// NewErrorf returns an error with the given code and a formatted text. The verb %w wraps an error,
// as in fmt.Errorf.
func NewErrorf(code ErrorCode, format string, args ...any) Error {
	return NewError(code, fmt.Errorf(format, args...))
}

type codedError struct {
	code    ErrorCode
	text    string
	cause   error
	details []*anypb.Any
}

func (e *codedError) Error() string              { return e.text }
func (e *codedError) Code() ErrorCode            { return e.code }
func (e *codedError) DetailsProto() []*anypb.Any { return e.details }
func (e *codedError) ToHttp() int                { return e.code.ToHttp() }
func (e *codedError) Unwrap() error              { return e.cause }

func (e *codedError) Details() []any {
	details := make([]any, 0, len(e.details))
	for _, packed := range e.details {
		if message, err := packed.UnmarshalNew(); err == nil {
			details = append(details, message)
		} else {
			details = append(details, packed)
		}
	}
	return details
}

func (e *codedError) GRPCStatus() *status.Status {
	s := status.New(e.code.ToGrpc(), e.text).Proto()
	s.Details = e.details
	return status.FromProto(s)
}

func (e *codedError) ToGrpc() error {
	if e.code.ToGrpc() == codes.OK {
		// The Err method of a status with code OK returns nil, which would hide the failure.
		return e
	}
	return e.GRPCStatus().Err()
}

// Is reports whether target is the code of the error. The function [Is] calls this method.
func (e *codedError) Is(target error) bool {
	code, ok := target.(ErrorCode)
	return ok && code == e.code
}

// As converts the error to its code or to a twirp.Error if target is an *ErrorCode or a
// *twirp.Error. The function [As] calls this method.
func (e *codedError) As(target any) bool {
	switch target := target.(type) {
	case *ErrorCode:
		*target = e.code
		return true
	case *twirp.Error:
		*target = twirp.WrapError(twirp.NewError(e.code.ToTwirp(), e.text), e)
		return true
	default:
		return false
	}
}

func packDetails(details []proto.Message) []*anypb.Any {
	var packed []*anypb.Any
	for _, detail := range details {
		if existing, ok := detail.(*anypb.Any); ok && existing != nil {
			packed = append(packed, existing)
		} else if created, err := anypb.New(detail); err == nil {
			packed = append(packed, created)
		}
	}
	return packed
}
