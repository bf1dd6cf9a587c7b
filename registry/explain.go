package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// useDescriptorSet is the advice in errors about sources that this package cannot parse.
const useDescriptorSet = "use RegisterDescriptorSet with a descriptor set made by protoc --include_imports -o or buf build"

// explain adds advice to errors of the parser and makes the errors about duplicate symbols
// reproducible. sources maps the paths of the parsed files to their content.
func (l *problemList) explain(sources map[string]string) {
	for _, problem := range *l {
		text := problem.Err.Error()
		// The error of the parser for an unsupported edition contains these words.
		if strings.Contains(text, "not yet fully supported") {
			problem.Err = fmt.Errorf("%w; %s", problem.Err, useDescriptorSet)
		}
		if _, imported := sources[psrpcOptionsPath]; !imported && strings.Contains(text, "unknown extension psrpc.options") {
			problem.Err = fmt.Errorf("%w; import %q, which is built in", problem.Err, psrpcOptionsPath)
		}
		if path := builtinInPlace(sources, problem.File); path != "" && strings.Contains(text, "unknown") {
			problem.Err = fmt.Errorf("%w; the file system has no file %q: the psrpc options, which are built in, took its place",
				problem.Err, path)
		}
	}
	l.orderDuplicates()
}

// builtinInPlace returns the path of the built-in psrpc options if a source imports them but uses
// no name from the proto package psrpc. The author then probably meant another file with the same
// path. Otherwise builtinInPlace returns an empty string.
func builtinInPlace(sources map[string]string, file string) string {
	source := sources[file]
	for _, path := range []string{optionsPath, psrpcOptionsPath} {
		builtin := sources[path] == optionsSource || strings.HasPrefix(sources[path], publicImportStart)
		if builtin && strings.Contains(source, strconv.Quote(path)) && !strings.Contains(source, "psrpc.") {
			return path
		}
	}
	return ""
}

// definedBefore matches the error of the parser for a symbol that is declared twice.
var definedBefore = regexp.MustCompile(`^(.+ already defined at )(.+?):(\d+):(\d+)(;.*)?$`)

// orderDuplicates makes the errors about duplicate symbols the same in every run. The parser links
// files in random order, accepts the declaration that it links first, and reports all others. Each
// error also contains the position of the accepted declaration. orderDuplicates sorts the
// declarations by position and reports all of them except the first.
func (l *problemList) orderDuplicates() {
	var others problemList
	// Each key is the part of an error text before the position.
	declarations := make(map[string]problemList)
	for _, problem := range *l {
		match := definedBefore.FindStringSubmatch(problem.Err.Error())
		if match == nil {
			others.add(problem)
			continue
		}
		// Atoi cannot fail, because these parts of the regular expression match only digits.
		line, _ := strconv.Atoi(match[3])
		column, _ := strconv.Atoi(match[4])
		first := &SchemaError{File: match[2], Line: line, Column: column, Err: problem.Err}
		declarations[match[1]] = append(declarations[match[1]], problem, first)
	}
	for text, all := range declarations {
		slices.SortFunc(all, comparePositions)
		all = slices.CompactFunc(all, func(a, b *SchemaError) bool { return comparePositions(a, b) == 0 })
		for _, problem := range all[1:] {
			suffix := definedBefore.FindStringSubmatch(problem.Err.Error())[5]
			problem.Err = fmt.Errorf("%s%s:%d:%d%s", text, all[0].File, all[0].Line, all[0].Column, suffix)
			others.add(problem)
		}
	}
	*l = others
}
