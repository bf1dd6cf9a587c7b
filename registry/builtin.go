package registry

import (
	_ "embed"
	"regexp"
)

// These are the import paths of the built-in psrpc options.
const (
	optionsPath      = "options.proto"
	psrpcOptionsPath = "psrpc/options.proto"
)

//go:embed psrpcoptions/options.proto
var publishedOptions string

// optionsSource is the built-in source of the psrpc options. It has no go_package option, because
// only protoc needs this option, and an old descriptor.proto of a user may not declare it.
var optionsSource = regexp.MustCompile(`(?m)^option go_package = .*$`).ReplaceAllString(publishedOptions, "")

// userFiles is the set of files that the user provides for one compilation.
type userFiles interface {
	// has reports whether the user provides a file at path.
	has(path string) bool
	// declaresOptions reports whether the user's file at path declares the psrpc options.
	declaresOptions(path string) bool
}

// builtinOptions returns the built-in source for path if path is one of the two import paths of the
// psrpc options. Otherwise ok is false. If the user provides a file with the same path, callers
// must use that file instead.
//
// The files of one compilation may import the options under both paths, but declaring the options
// twice is an error. Therefore, the source for one path declares the options, and the source for
// the other path imports the first one publicly.
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

// publicImportStart is the start of each source that publicImport returns.
const publicImportStart = `syntax = "proto3"; package psrpc; import public `

func publicImport(path string) string {
	return publicImportStart + `"` + path + `";`
}
