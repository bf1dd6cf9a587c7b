package validation

import (
	"buf.build/go/protovalidate"
)

// invalidError is a protovalidate error whose text is formatted on one line.
type invalidError struct {
	text  string
	cause *protovalidate.ValidationError
}

func (e *invalidError) Error() string { return e.text }

// Unwrap returns the protovalidate error, so that errors.As can find it on the side that validated
// the message.
func (e *invalidError) Unwrap() error { return e.cause }
