package guest

import (
	"encoding/binary"
	"fmt"
)

// Error is an error as the caller of a method gets it.
type Error struct {
	// Code is [Unknown] if it is empty.
	Code Code
	// Err has the text, which is that of the code if there is none.
	Err error
	// Details are messages for the caller.
	Details []Detail
}

// Detail is an encoded message. Package guestproto makes one of a message of protoc-gen-go.
type Detail struct {
	// TypeURL names the message, such as "type.googleapis.com/my.pkg.MyDetail".
	TypeURL string
	// Value is the message, encoded.
	Value []byte
}

// Errorf returns an error with a code and a formatted text. The verb %w wraps an error, as with fmt.Errorf.
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

// findError returns the first *Error in err's tree, or one of the code Unknown. It does what the standard errors.As does
// for this type; the package of that name of this module would link too much.
func findError(err error) *Error {
	if found := searchError(err); found != nil {
		return found
	}
	return &Error{Code: Unknown, Err: err}
}

func searchError(err error) *Error {
	switch e := err.(type) { //nolint:errorlint // this is what looks into wrapped errors
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

// encodeError returns code, text, and type and value of each detail, each with its length before it.
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
	to = binary.LittleEndian.AppendUint32(to, uint32(len(part))) //nolint:gosec // memory is smaller
	return append(to, part...)
}
