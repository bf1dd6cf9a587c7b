package validation

import (
	"buf.build/go/protovalidate"
)

// invalidError formats a protovalidate error on one line.
type invalidError struct {
	text  string
	cause *protovalidate.ValidationError
}

func (e *invalidError) Error() string { return e.text }

// Unwrap returns the protovalidate error, for errors.As on the side that validated the message.
func (e *invalidError) Unwrap() error { return e.cause }
