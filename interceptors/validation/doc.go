// Package validation checks messages against the rules that stand in their .proto files, see buf.build/go/protovalidate.
// A message that breaks one goes no further, with the code invalid_argument.
//
//	server := dynamic.NewServer(b, validation.New())
//	conn, err := dynamic.NewConn(b, reg, validation.New())
//
// Generated and dynamic messages are treated alike. A .proto file with rules imports buf/validate/validate.proto; the
// registry finds that, as this package links it, if the sources do not have it.
//
// The error names every rule that is broken; its detail is a buf.validate.Violations with the same for programs. Rules
// that cannot be evaluated are an error with the code internal.
package validation
