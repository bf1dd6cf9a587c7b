package registry

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	// ErrAlreadyRegistered is returned if the service is already registered with a different
	// descriptor or under a different wire name. To replace a service, remove it first.
	ErrAlreadyRegistered = errors.New("already registered")
	// ErrWireNameTaken is returned if another service already uses the wire name.
	ErrWireNameTaken = errors.New("wire name taken")
	// ErrInvalidWireName is returned if a name given with [WithWireName] or [WithWireNames] is not
	// valid.
	ErrInvalidWireName = errors.New("the wire name is invalid")
	// ErrNotRegistered is returned by lookups of a service or method that is not registered.
	ErrNotRegistered = errors.New("not registered")
	// ErrNoService is returned if there is no service to register. For example, a descriptor is
	// nil, or a file declares no services or only gRPC services.
	ErrNoService = errors.New("no service")
)

// SchemaError describes one mistake in a schema. If a registration finds several mistakes, its
// error joins one SchemaError for each mistake. errors.As finds the first SchemaError.
type SchemaError struct {
	// File is the path of the .proto file. It is empty if the file is unknown.
	File string
	// Line and Column are the source position of the mistake, starting at 1. As in protoc, a tab
	// advances to the next multiple of 8 columns. Both are 0 if the position is unknown.
	Line, Column int
	// Symbol is the name of the service ("my.pkg.MyService") or method
	// ("my.pkg.MyService/NormalRPC") that contains the mistake. It is empty if the mistake concerns
	// a whole file.
	Symbol string
	// Err describes the mistake.
	Err error
}

// Error returns the position, the symbol and the description on one line.
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

// schemaError returns a SchemaError that refers to the source position of d.
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

// recoverToError calls f and returns its error. If f panics, as the protobuf libraries do on some
// malformed schemas, recoverToError returns an error that describes the panic.
func recoverToError(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schema cannot be processed: %v", p)
		}
	}()
	return f()
}
