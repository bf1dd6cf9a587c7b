package registry

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	// ErrAlreadyRegistered reports that another descriptor with the same full name is registered.
	// To replace a service, remove it first.
	ErrAlreadyRegistered = errors.New("already registered")
	// ErrWireNameTaken reports that another service already uses the name on the wire.
	ErrWireNameTaken = errors.New("wire name taken")
	// ErrNoService reports that there is no service to register.
	ErrNoService = errors.New("no service")
)

// SchemaError is one mistake in a schema. A registration joins all mistakes that it finds into one
// error; errors.As finds the first of them.
type SchemaError struct {
	// File is the path of the .proto file. It is empty if the descriptor does not know its file.
	File string
	// Line and Column start at 1. As in protoc, a tab advances to the next multiple of 8 columns.
	// Both are 0 if the descriptor has no source positions.
	Line, Column int
	// Symbol is the service ("my.pkg.MyService") or method ("my.pkg.MyService/NormalRPC") with the
	// mistake. It is empty for mistakes of a whole file.
	Symbol string
	// Err describes the mistake.
	Err error
}

// Error returns the position, the symbol and the description in one line.
func (e *SchemaError) Error() string {
	text := e.Err.Error()
	if e.Symbol != "" {
		text = e.Symbol + ": " + text
	}
	switch {
	case e.File == "":
		return text
	case e.Line == 0:
		return e.File + ": " + text
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
	}
}

// Unwrap returns Err.
func (e *SchemaError) Unwrap() error { return e.Err }

// schemaError returns a SchemaError with the source position of d.
func schemaError(d protoreflect.Descriptor, symbol string, err error) error {
	e := &SchemaError{Symbol: symbol, Err: err}
	file := d.ParentFile()
	if file == nil {
		return e
	}
	e.File = file.Path()
	if at := file.SourceLocations().ByDescriptor(d); at.Path != nil {
		e.Line, e.Column = at.StartLine+1, at.StartColumn+1
	}
	return e
}

// recoverToError calls f and returns its error. It converts a panic to an error, because the
// protobuf libraries panic on some malformed schemas.
func recoverToError(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schema cannot be processed: %v", p)
		}
	}()
	return f()
}

// isNil reports whether v is nil or a nil pointer in an interface, whose methods must not be
// called.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
