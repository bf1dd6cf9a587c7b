package errors

import stderrors "errors"

// ErrUnsupported is identical to the standard errors.ErrUnsupported.
var ErrUnsupported = stderrors.ErrUnsupported

// New returns an error without a code, like the standard errors.New. If it is sent over the bus,
// its code is [Unknown]. Use [NewErrorf] to create an error with a code.
func New(text string) error { return stderrors.New(text) }

// Is reports whether any error in err's tree matches target, like the standard errors.Is.
func Is(err, target error) bool { return stderrors.Is(err, target) }

// As finds the first error in err's tree that matches target and assigns it to *target, like the
// standard errors.As. It panics unless target is a non-nil pointer to an interface or to an error
// type.
func As(err error, target any) bool { return stderrors.As(err, target) }

// AsType returns the first error of type E in err's tree, like the standard errors.AsType.
func AsType[E error](err error) (E, bool) { return stderrors.AsType[E](err) }

// Join combines errors into one, like the standard errors.Join. It returns nil if all errs are nil.
func Join(errs ...error) error { return stderrors.Join(errs...) }

// Unwrap returns the error that err wraps, like the standard errors.Unwrap. It returns nil if err
// wraps no error, or if err wraps a list of errors as the result of [Join] does.
func Unwrap(err error) error { return stderrors.Unwrap(err) }
