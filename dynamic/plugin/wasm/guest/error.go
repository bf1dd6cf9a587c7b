package guest

import (
	"encoding/binary"
	"fmt"
)

// Error is an error that is sent to the caller of a method.
type Error struct {
	// Code classifies the error. If Code is empty, [Unknown] is sent.
	Code Code
	// Err provides the text of the error. If Err is nil, the code is used as the text.
	Err error
	// Details contains messages that are sent to the caller with the error.
	Details []Detail
}

// Detail is an encoded message that is sent with an [Error]. To encode a generated message, use the
// function Detail in package guestproto.
type Detail struct {
	// TypeURL identifies the type of the message, for example
	// "type.googleapis.com/my.pkg.MyDetail".
	TypeURL string
	// Value is the encoded message.
	Value []byte
}

// Errorf returns an error with the given code and a formatted text. As in fmt.Errorf, the verb %w
// wraps an error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Error returns the text of Err, or the code if Err is nil.
func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// findError returns the first *Error in err's tree, like errors.As. If there is none, it returns an
// *Error with the code Unknown that wraps err. It uses neither the standard library's errors.As,
// which the linter of this module forbids, nor its replacement in package errors of dynpsrpc. That
// package imports protobuf, which would make plugins larger.
func findError(err error) *Error {
	if found := searchError(err); found != nil {
		return found
	}
	return &Error{Code: Unknown, Err: err}
}

func searchError(err error) *Error {
	switch e := err.(type) { //nolint:errorlint // searchError unwraps errors itself
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

// encodeError encodes an error for the host. The encoding consists of the code, the text, and the
// type URL and value of each detail. Each of these parts is preceded by its length, a little-endian
// number of four bytes.
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
