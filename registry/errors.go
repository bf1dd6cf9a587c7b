package registry

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	// ErrAlreadyRegistered is in the error of a registration if another descriptor of that full name
	// is registered. Remove the service first to replace it.
	ErrAlreadyRegistered = errors.New("already registered")
	// ErrWireNameTaken is in the error of a registration if another service uses that name on the wire.
	ErrWireNameTaken = errors.New("wire name taken")
	// ErrNoService is in the error of a registration that was given nothing to register.
	ErrNoService = errors.New("no service")
)

// SchemaError is one mistake in a schema. A registration reports all mistakes it finds, joined:
// errors.As gives the first of them.
type SchemaError struct {
	// File is the path of the .proto file, empty if the descriptor does not tell.
	File string
	// Line and Column count from 1, and a tab reaches to the next multiple of 8 columns, as in protoc. Both
	// are 0 if the descriptor carries no source positions.
	Line, Column int
	// Symbol is the service ("my.pkg.MyService") or method ("my.pkg.MyService/NormalRPC") at fault,
	// empty for mistakes that concern a file.
	Symbol string
	// Err says what is wrong.
	Err error
}

// Error returns position, symbol and problem in one line.
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

// schemaError reports a mistake at the place where d is declared.
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

// recoverToError turns a panic of the protobuf libraries over a malformed schema into an error.
func recoverToError(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schema cannot be processed: %v", p)
		}
	}()
	return f()
}

// isNil reports whether v is nil or holds a nil pointer, on which no method can be called safely.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
