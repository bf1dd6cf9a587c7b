// Package validation validates messages against the rules declared in their .proto files, with
// buf.build/go/protovalidate. An invalid message is rejected with the code invalid_argument.
//
//	server := dynamic.NewServer(b, validation.New())
//	conn, err := dynamic.NewConn(b, reg, validation.New())
//
// Generated and dynamic messages are validated alike. A .proto file with rules imports
// buf/validate/validate.proto. The sources need not contain that file: this package links it, and
// the registry resolves imports from linked files.
//
// The error text lists every violated rule, and the error details contain a buf.validate.Violations
// message with the same information for programs. A rule that cannot be evaluated is an error with
// the code internal.
package validation
