package errors

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// ToWire returns the code, text and details that a Response carries for err. They are the same as
// psrpc would send:
//
//  1. the code, text and details of the first [Error] in err's tree, without any text added by
//     wrapping errors;
//  2. otherwise those of the first gRPC status that is not OK, with the text of wrapping errors;
//  3. otherwise the text of err with the code [Unknown].
//
// All three are empty for nil. Only for nil is the text empty, because psrpc interprets an error
// with an empty text as a success; an empty text is replaced by the code. The text is always valid
// UTF-8, because peers drop frames that contain invalid UTF-8. The caller must not modify the
// details.
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

// ToStreamClose returns the code and text that the close of a stream carries for err. They are the
// same as psrpc would send: those of the first [Error] in err's tree, otherwise the text of err
// with the code [Unknown]. The code of a gRPC status is lost, and a close has no details. The
// result for nil is [ErrStreamClosed]. The text is never empty and always valid UTF-8.
func ToStreamClose(err error) (code ErrorCode, text string) {
	if err == nil {
		err = ErrStreamClosed
	}
	if e, ok := AsType[Error](err); ok {
		return e.Code(), wireText(e.Code(), e.Error())
	}
	return Unknown, wireText(Unknown, err.Error())
}

// FromWire returns the error of a Response, or nil if text is empty, which is how psrpc encodes
// success. An empty code becomes [Unknown]. The error takes ownership of details. It wraps the
// predefined error with the same code and text, if there is one.
func FromWire(code ErrorCode, text string, details []*anypb.Any) Error {
	if text == "" {
		return nil
	}
	return fromPeer(code, text, details)
}

// FromStreamClose returns the error with which a stream was closed. It never returns nil: the error
// of a normal close is [ErrStreamClosed]. An empty code becomes [Unknown], and an empty text
// becomes the code. The error wraps the predefined error with the same code and text, if there is
// one.
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

// wireText returns text in a form that can be sent: non-empty, valid UTF-8.
func wireText(code ErrorCode, text string) string {
	if text == "" {
		text = code.Error()
	}
	if text == "" {
		text = Unknown.Error()
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
