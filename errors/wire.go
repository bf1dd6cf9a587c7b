package errors

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// ToWire returns what a Response says of err, as psrpc would send it:
//
//  1. the code, text and details of the first [Error] in err's tree; text that was added around it is lost;
//  2. else those of the first gRPC status that is not OK, with the text of what was wrapped around it;
//  3. else the text of err, with the code [Unknown].
//
// All three are empty for nil, and only for nil is the text empty: psrpc takes an error with an empty text
// for a success, so the code stands in for a text that is missing. The text is always valid UTF-8, for a
// peer drops a frame with any other. The caller must not change the details.
func ToWire(err error) (code ErrorCode, text string, details []*anypb.Any) {
	if err == nil {
		return OK, "", nil
	}
	if e, ok := AsType[Error](err); ok {
		return e.Code(), wireText(e.Code(), e.Error()), e.DetailsProto()
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		code = CodeFromGrpc(s.Code())
		return code, wireText(code, s.Message()), s.Proto().GetDetails()
	}
	return Unknown, wireText(Unknown, err.Error()), nil
}

// ToStreamClose returns what a stream's close says of err, as psrpc would send it: the code and text of the
// first [Error] in err's tree, else the text of err with the code [Unknown]. A gRPC status loses its code, and
// there is no place for details. For nil it is [ErrStreamClosed]. The text is never empty and is valid UTF-8.
func ToStreamClose(err error) (code ErrorCode, text string) {
	if err == nil {
		err = ErrStreamClosed
	}
	if e, ok := AsType[Error](err); ok {
		return e.Code(), wireText(e.Code(), e.Error())
	}
	return Unknown, wireText(Unknown, err.Error())
}

// FromWire returns the error that a Response holds, or nil if its text is empty: that is how psrpc tells
// success. An empty code becomes [Unknown]. The error keeps details and owns them from now on. [Is] finds the
// predefined error that has the same code and text.
func FromWire(code ErrorCode, text string, details []*anypb.Any) Error {
	if text == "" {
		return nil
	}
	return fromPeer(code, text, details)
}

// FromStreamClose returns the error that a stream's close holds. It is never nil: a stream that ended well has
// [ErrStreamClosed]. An empty code becomes [Unknown], an empty text the code's. [Is] finds the predefined
// error that has the same code and text.
func FromStreamClose(code ErrorCode, text string) Error {
	return fromPeer(code, text, nil)
}

func fromPeer(code ErrorCode, text string, details []*anypb.Any) Error {
	if code == OK {
		code = Unknown
	}
	if text == "" {
		text = code.Error()
	}
	return &codedError{code: code, text: text, cause: sentinelFor(code, text), details: details}
}

// wireText returns text as it may be sent: not empty, and valid UTF-8.
func wireText(code ErrorCode, text string) string {
	if text == "" {
		text = code.Error()
	}
	if text == "" {
		text = Unknown.Error()
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
