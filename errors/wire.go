package errors

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// ToWire returns the code, text and details that are sent in a Response for err. It applies the
// following rules, which are the same as in psrpc except for rule 2:
//
//  1. If err's tree contains an [Error]: the code, text and details of the first Error, without any
//     text added by wrapping errors.
//  2. Otherwise, if the tree contains another error with a method Code that returns a string: the
//     code, text and details of the first such error. The method may return any type based on
//     string, as the method of psrpc's errors does. Twirp errors and empty codes are ignored,
//     because psrpc ignores them, too.
//  3. Otherwise, if the tree contains a gRPC status that is not OK: the code, text and details of
//     the first such status, including the text of wrapping errors.
//  4. Otherwise: the code [Unknown] and the text of err.
//
// If err is nil, all results are empty. If err is not nil but its text is empty, the code is used
// as the text, because psrpc interprets an empty text as success. The text is always valid UTF-8,
// because peers drop frames that contain invalid UTF-8. The caller must not modify the details.
func ToWire(err error) (code ErrorCode, text string, details []*anypb.Any) {
	if err == nil {
		return OK, "", nil
	}
	if e, ok := AsType[Error](err); ok {
		return e.Code(), wireText(e.Code(), e.Error()), e.DetailsProto()
	}
	if e, code := foreignError(err); e != nil {
		return code, wireText(code, e.Error()), foreignDetails(e)
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		code = CodeFromGrpc(s.Code())
		return code, wireText(code, s.Message()), s.Proto().GetDetails()
	}
	return Unknown, wireText(Unknown, err.Error()), nil
}

// ToStreamClose returns the code and text to send when a stream is closed with err. If rule 1 or 2
// of [ToWire] applies to err, they are the same as those from ToWire. Otherwise, as in psrpc, the
// code is [Unknown] and the text is err.Error(). The codes of gRPC statuses are therefore lost. A
// nil err is treated as [ErrStreamClosed]. The text is never empty and always valid UTF-8.
func ToStreamClose(err error) (code ErrorCode, text string) {
	if err == nil {
		err = ErrStreamClosed
	}
	if e, ok := AsType[Error](err); ok {
		return e.Code(), wireText(e.Code(), e.Error())
	}
	if e, code := foreignError(err); e != nil {
		return code, wireText(code, e.Error())
	}
	return Unknown, wireText(Unknown, err.Error())
}

// FromWire returns the error that was received in a Response. It returns nil if text is empty,
// because psrpc encodes success in this way. An empty code becomes [Unknown]. FromWire takes
// ownership of details. If there is a predefined error with the same code and text, the result
// wraps it.
func FromWire(code ErrorCode, text string, details []*anypb.Any) Error {
	if text == "" {
		return nil
	}
	return fromPeer(code, text, details)
}

// FromStreamClose returns the error with which a stream was closed. It never returns nil; after a
// normal close, the result wraps [ErrStreamClosed]. An empty code becomes [Unknown], and the code
// replaces an empty text. If there is a predefined error with the same code and text, the result
// wraps it.
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

// wireText returns text in a form that can be sent. If text is empty, the code replaces it. The
// result is never empty and always valid UTF-8.
func wireText(code ErrorCode, text string) string {
	if text == "" {
		text = code.Error()
	}
	if text == "" {
		text = Unknown.Error()
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
