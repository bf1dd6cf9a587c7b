// Package validation validates messages against the rules declared in their .proto files, using
// buf.build/go/protovalidate. Invalid messages are rejected with the code invalid_argument.
//
//	server := dynamic.NewServer(b, validation.New())
//	conn, err := dynamic.NewConn(b, reg, validation.New())
//
// Generated and dynamic messages are validated in the same way. A .proto file that declares rules
// imports buf/validate/validate.proto. A copy of that file is not needed, because this package
// links its descriptor into the program and package registry finds it there.
//
// The error text lists all violated rules. The error details contain a buf.validate.Violations
// message with the same information in machine-readable form. If a rule cannot be evaluated, the
// error has the code internal.
package validation
