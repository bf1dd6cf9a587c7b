package guest

import (
	"encoding/binary"
	"fmt"
)

// Error is an error for the caller of a method.
type Error struct {
	// Code classifies the error. An empty code means [Unknown].
	Code Code
	// Err provides the text of the error. If it is nil, the text is the code.
	Err error
	// Details are messages that reach the caller with the error.
	Details []Detail
}

// Detail is an encoded message. The function Detail of package guestproto encodes a generated
// message.
type Detail struct {
	// TypeURL names the type of the message, for example "type.googleapis.com/my.pkg.MyDetail".
	TypeURL string
	// Value is the encoded message.
	Value []byte
}

// Errorf returns an error with a code and a formatted text. The verb %w wraps an error, as with
// fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Error returns the text.
func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// findError returns the first *Error in err's tree, or one with the code Unknown that wraps err. It
// does what errors.As does for this type. Package errors of this module, which other code must use
// instead of the standard package, would make the plugin larger because it imports protobuf.
func findError(err error) *Error {
	if found := searchError(err); found != nil {
		return found
	}
	return &Error{Code: Unknown, Err: err}
}

func searchError(err error) *Error {
	switch e := err.(type) { //nolint:errorlint // it unwraps errors itself
	case *Error:
		return e
	case interface{ Unwrap() error }:
		return searchError(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if found := searchError(err); found != nil {
				return found
			}
		}
	}
	return nil
}

// encodeError encodes an error for the host: the code, the text, and the type URL and value of each
// detail, each prefixed with its length in four bytes.
func encodeError(err error) []byte {
	e := findError(err)
	code := e.Code
	if code == "" {
		code = Unknown
	}
	encoded := appendPart(nil, string(code))
	encoded = appendPart(encoded, e.Error())
	for _, detail := range e.Details {
		encoded = appendPart(encoded, detail.TypeURL)
		encoded = appendPart(encoded, detail.Value)
	}
	return encoded
}

func appendPart[T string | []byte](to []byte, part T) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(part))) //nolint:gosec // memory has 32-bit addresses
	return append(to, part...)
}
