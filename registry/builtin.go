package registry

import _ "embed"

// The import paths under which the psrpc options are built in.
const (
	optionsPath      = "options.proto"
	psrpcOptionsPath = "psrpc/options.proto"
)

//go:embed psrpc_options.proto
var optionsSource string

// userFiles tells what a builder of files has of its own.
type userFiles interface {
	// has reports whether there is a file of that path.
	has(path string) bool
	// declaresOptions reports whether the file of that path declares the psrpc options.
	declaresOptions(path string) bool
}

// builtinOptions returns the source of the psrpc options for an import path that the user has no file
// for. Files of one build may import the options under both paths; to declare them once, one path
// imports the other publicly.
func builtinOptions(path string, user userFiles) (source string, ok bool) {
	switch path {
	case optionsPath:
		if user.declaresOptions(psrpcOptionsPath) {
			return publicImport(psrpcOptionsPath), true
		}
		return optionsSource, true
	case psrpcOptionsPath:
		if !user.has(optionsPath) || user.declaresOptions(optionsPath) {
			return publicImport(optionsPath), true
		}
		return optionsSource, true
	default:
		return "", false
	}
}

func publicImport(path string) string {
	return `syntax = "proto3"; package psrpc; import public "` + path + `";`
}
