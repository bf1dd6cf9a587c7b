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
// [As] of an Error into a twirp.Error gives one with the same text and the Twirp code, through which [Is]
// still sees what the Error wraps.
type Error interface {
	error

	// Code returns the code, as it was given or as it came from the peer.
	Code() ErrorCode

	// Details returns the details, decoded anew for the caller: each is a proto.Message of the linked Go
	// type, or the *anypb.Any itself if its type is not linked or its bytes are wrong.
	Details() []any

	// DetailsProto returns the details as they are sent. The caller must not change them.
	DetailsProto() []*anypb.Any

	// ToHttp returns the HTTP status for the code.
	ToHttp() int

	// ToGrpc returns a gRPC status error with the code, the text and the details. It is never nil.
	ToGrpc() error

	// GRPCStatus returns the same as a status; grpc's status package looks for this method.
	GRPCStatus() *status.Status

	// Unwrap returns the error this one was made from, or nil.
	Unwrap() error
}

// NewError returns an error with a code, the text of err, and details for the caller. It wraps err. If err is
// nil, the text is the code's.
//
// A detail that is an *anypb.Any is sent as it is. One that cannot be marshaled (a nil, a string that is not
// UTF-8) is left out: a faulty detail must not hide the error.
func NewError(code ErrorCode, err error, details ...proto.Message) Error {
	text := code.Error()
	if err != nil {
		text = err.Error()
	}
	return &codedError{code: code, text: text, cause: err, details: packDetails(details)}
}

// NewErrorf returns an error with a code and a formatted text. The verb %w wraps an error, as with
// fmt.Errorf.
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
		return e // the error of an OK status is nil, and a failure must not become a success
	}
	return e.GRPCStatus().Err()
}

// As lets the As function turn the error into a twirp.Error.
func (e *codedError) As(target any) bool {
	twirpTarget, ok := target.(*twirp.Error)
	if ok {
		*twirpTarget = twirp.WrapError(twirp.NewError(e.code.ToTwirp(), e.text), e)
	}
	return ok
}

func packDetails(details []proto.Message) []*anypb.Any {
	var packed []*anypb.Any
	for _, detail := range details {
		if ready, ok := detail.(*anypb.Any); ok && ready != nil {
			packed = append(packed, ready)
		} else if made, err := anypb.New(detail); err == nil {
			packed = append(packed, made)
		}
	}
	return packed
}
