// Package typedoptions contains the psrpc method options as generated Go code, for tests of
// programs that link such code. It registers the options with protobuf.
package typedoptions

//go:generate protoc -I ../../../registry/psrpcoptions --go_out=. --go_opt=paths=source_relative --go_opt=Moptions.proto=github.com/dynpsrpc/dynpsrpc/tests/linked/typedoptions;typedoptions options.proto
