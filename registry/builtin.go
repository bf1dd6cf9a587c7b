package registry

import _ "embed"

// Import paths of the built-in psrpc options.
const (
	optionsPath      = "options.proto"
	psrpcOptionsPath = "psrpc/options.proto"
)

//go:embed psrpc_options.proto
var optionsSource string

// userFiles is the set of files that the user provides for one build.
type userFiles interface {
	// has reports whether the user provides a file with that path.
	has(path string) bool
	// declaresOptions reports whether the user's file with that path declares the psrpc options.
	declaresOptions(path string) bool
}

// builtinOptions returns the source of the psrpc options for an import path that the user provides
// no file for. Files of one build may import the options under both paths, and a declaration that
// occurs twice is an error. So only one path declares the options and the other imports it
// publicly.
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
