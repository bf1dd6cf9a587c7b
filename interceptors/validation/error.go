package validation

import (
	"buf.build/go/protovalidate"
)

// invalidError says what is wrong with a message, on one line.
type invalidError struct {
	text  string
	cause *protovalidate.ValidationError
}

func (e *invalidError) Error() string { return e.text }

// Unwrap returns what errors.As finds on the side that has checked the message.
func (e *invalidError) Unwrap() error { return e.cause }
