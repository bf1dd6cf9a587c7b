// Package typedoptions contains Go code generated from the psrpc options. The code registers the
// options in the global protobuf registry. Tests use it to check programs that link such code.
package typedoptions

//go:generate protoc -I ../../../registry/psrpcoptions --go_out=. --go_opt=paths=source_relative --go_opt=Moptions.proto=github.com/dynpsrpc/dynpsrpc/tests/registration/typedoptions;typedoptions options.proto
