package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jhump/protoreflect/desc"            //nolint:staticcheck // deprecated, but used deliberately.
	"github.com/jhump/protoreflect/desc/protoparse" //nolint:staticcheck // deprecated, but used deliberately.
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxProblems is the maximum number of mistakes reported in one error.
const maxProblems = 100

// compile compiles and links the named sources. The files that they import must be in sources, be
// built into the parser, or have generated Go code in the program.
func compile(names []string, sources map[string]string) ([]protoreflect.FileDescriptor, error) {
	var problems problemList
	parsed, err := newParser(sources, &problems).ParseFiles(names...)
	if err != nil {
		problems.explain(sources)
		return nil, problems.join(err)
	}
	if files, err := relink(parsed); err == nil {
		return files, nil
	}
	files := make([]protoreflect.FileDescriptor, len(parsed))
	for i, file := range parsed {
		files[i] = file.UnwrapFile()
	}
	return files, nil
}

// relink creates the descriptors of parsed files again, with package protodesc. This is necessary
// because the parser's descriptors lack private methods that protobuf-go uses. For example, one of
// these methods reports whether the features of an edition require a string to be valid UTF-8.
// After relink, descriptors from sources behave like those from descriptor sets. relink returns an
// error for the few sources that only the parser accepts. Examples are a MessageSet and a map of
// enums without a zero value.
//
// For protobuf's own files, relink uses the descriptors of the linked Go code, because proto.Equal
// treats messages with different descriptors as unequal.
func relink(parsed []*desc.FileDescriptor) ([]protoreflect.FileDescriptor, error) {
	linked := new(protoregistry.Files)
	files := make([]protoreflect.FileDescriptor, len(parsed))
	for i, file := range parsed {
		var err error
		if files[i], err = relinkInto(linked, file); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// relinkInto adds a file and its imports to linked, unless they are already there. It returns the
// descriptor in linked.
func relinkInto(linked *protoregistry.Files, parsed *desc.FileDescriptor) (protoreflect.FileDescriptor, error) {
	if file, err := linked.FindFileByPath(parsed.GetName()); err == nil {
		return file, nil
	}
	for _, imported := range parsed.GetDependencies() {
		if _, err := relinkInto(linked, imported); err != nil {
			return nil, err
		}
	}
	file := parsed.UnwrapFile()
	if global, err := protoregistry.GlobalFiles.FindFileByPath(parsed.GetName()); err != nil || global != file {
		if file, err = protodesc.NewFile(parsed.AsFileDescriptorProto(), linked); err != nil {
			return nil, err
		}
	}
	return file, linked.RegisterFile(file)
}

// parseUnlinked parses one source without resolving its imports. It adds any syntax errors to
// problems. If the parser panics, as it does on some sources that are not valid UTF-8,
// parseUnlinked returns a *SchemaError.
func parseUnlinked(
	path, source string, problems *problemList,
) (file *descriptorpb.FileDescriptorProto, err error) {
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, &SchemaError{File: path, Err: fmt.Errorf("the parser failed: %v", p)}
		}
	}()
	files, err := newParser(map[string]string{path: source}, problems).ParseFilesButDoNotLink(path)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// standardPrefix is the path prefix of protobuf's own files.
const standardPrefix = "google/protobuf/"

// standardFile returns one of protobuf's own files, such as google/protobuf/empty.proto. These
// files are built into the parser.
func standardFile(path string) (protoreflect.FileDescriptor, bool) {
	if !strings.HasPrefix(path, standardPrefix) {
		return nil, false
	}
	files, err := compile([]string{path}, nil)
	if err != nil {
		return nil, false
	}
	return files[0], true
}

func newParser(sources map[string]string, problems *problemList) protoparse.Parser {
	return protoparse.Parser{
		Accessor:              protoparse.FileContentsFromMap(sources),
		LookupImportProto:     linkedFile,
		IncludeSourceCodeInfo: true,
		ErrorReporter:         problems.report,
	}
}

// problemList collects the errors found in .proto sources.
type problemList []*SchemaError

// report implements protoparse.ErrorReporter. It adds err to the list. If the list is then full,
// report returns an error, which stops the parser. Otherwise it returns nil.
func (l *problemList) report(err protoparse.ErrorWithPos) error {
	at := err.GetPosition()
	*l = append(*l, &SchemaError{File: at.Filename, Line: at.Line, Column: at.Col, Err: err.Unwrap()})
	if len(*l) >= maxProblems {
		return errors.New("too many errors: the rest is omitted")
	}
	return nil
}

// join returns all problems as one error, sorted by position. err is the error returned by the
// parser. It is included as well, unless it only says that the parser has reported problems.
func (l *problemList) join(err error) error {
	slices.SortStableFunc(*l, comparePositions)
	all := make([]error, 0, len(*l)+1)
	for _, problem := range *l {
		all = append(all, problem)
	}
	if err != nil && !errors.Is(err, protoparse.ErrInvalidSource) {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// add appends a problem that was found by this package rather than reported by the parser.
func (l *problemList) add(problem *SchemaError) { *l = append(*l, problem) }
