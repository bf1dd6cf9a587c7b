package errors

import stderrors "errors"

// ErrUnsupported is the standard errors.ErrUnsupported, the same value.
var ErrUnsupported = stderrors.ErrUnsupported

// New returns an error without a code, as the standard errors.New does.
// It goes over the bus as [Unknown]; use [NewErrorf] to give a code.
func New(text string) error { return stderrors.New(text) }

// Is reports whether target is anywhere in err's tree, as the standard errors.Is does.
func Is(err, target error) bool { return stderrors.Is(err, target) }

// As finds the first error in err's tree that fits target and stores it there, as the standard errors.As
// does. It panics if target is not a non-nil pointer to an interface or to a type that is an error.
func As(err error, target any) bool { return stderrors.As(err, target) }

// AsType finds the first error of type E in err's tree, as the standard errors.AsType does.
func AsType[E error](err error) (E, bool) { return stderrors.AsType[E](err) }

// Join puts errors together into one, as the standard errors.Join does. It is nil if all of errs are.
func Join(errs ...error) error { return stderrors.Join(errs...) }

// Unwrap returns what err's Unwrap method returns, or nil, as the standard errors.Unwrap does.
func Unwrap(err error) error { return stderrors.Unwrap(err) }
