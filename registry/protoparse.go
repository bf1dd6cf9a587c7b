package registry

import (
	"cmp"
	"slices"
	"strings"

	"github.com/jhump/protoreflect/desc/protoparse" //nolint:staticcheck // deprecated, and our parser of choice.
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxProblems is the maximum number of mistakes that one error lists.
const maxProblems = 100

// compile compiles and links the named sources. Their imports must be in sources, built into the
// parser, or linked into the program.
func compile(names []string, sources map[string]string) ([]protoreflect.FileDescriptor, error) {
	var problems problemList
	wrapped, err := newParser(sources, &problems).ParseFiles(names...)
	if err != nil {
		return nil, problems.join(err)
	}
	files := make([]protoreflect.FileDescriptor, len(wrapped))
	for i, fd := range wrapped {
		files[i] = fd.UnwrapFile()
	}
	return files, nil
}

// parseUnlinked parses one source without resolving its imports. Syntax errors are added to
// problems.
func parseUnlinked(path, source string, problems *problemList) (*descriptorpb.FileDescriptorProto, error) {
	files, err := newParser(map[string]string{path: source}, problems).ParseFilesButDoNotLink(path)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// standardPrefix is the path prefix of protobuf's own files.
const standardPrefix = "google/protobuf/"

// standardFile returns one of protobuf's own files, such as google/protobuf/empty.proto, which are
// built into the parser.
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

// problemList collects mistakes.
type problemList []*SchemaError

// report implements protoparse.ErrorReporter. It returns nil to continue parsing.
func (l *problemList) report(err protoparse.ErrorWithPos) error {
	at := err.GetPosition()
	*l = append(*l, &SchemaError{File: at.Filename, Line: at.Line, Column: at.Col, Err: err.Unwrap()})
	if len(*l) >= maxProblems {
		return errors.New("too many errors: the rest is omitted")
	}
	return nil
}

// join returns all problems, sorted by position. It adds err, the error of the parser, unless err
// only states that there were problems.
func (l *problemList) join(err error) error {
	slices.SortStableFunc(*l, func(a, b *SchemaError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	all := make([]error, 0, len(*l)+1)
	for _, problem := range *l {
		all = append(all, problem)
	}
	if err != nil && !errors.Is(err, protoparse.ErrInvalidSource) {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// add adds a mistake that the parser did not report.
func (l *problemList) add(problem *SchemaError) { *l = append(*l, problem) }
