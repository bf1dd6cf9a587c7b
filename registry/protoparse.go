package registry

import (
	"fmt"
	"strings"

	"github.com/jhump/protoreflect/desc"            //nolint:staticcheck // deprecated, but used deliberately.
	"github.com/jhump/protoreflect/desc/protoparse" //nolint:staticcheck // deprecated, but used deliberately.
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

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

// relink creates the descriptors of parsed files again, with package protodesc, because the
// parser's descriptors lack private methods that protobuf-go uses. For example, one of these
// methods reports whether the features of an edition require a string to be valid UTF-8. After
// relink, descriptors from sources behave like those from descriptor sets. relink returns an error
// for the few sources that only the parser accepts, such as a MessageSet or a map of enums without
// a zero value.
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

// linkedFile returns the descriptor of a file whose generated Go code is linked into the program.
// The parser calls it to resolve imports. It never returns protobuf's own files, because they are
// built into the parser.
func linkedFile(path string) (*descriptorpb.FileDescriptorProto, error) {
	if strings.HasPrefix(path, standardPrefix) {
		return nil, protoregistry.NotFound
	}
	file, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return nil, err
	}
	return protodesc.ToFileDescriptorProto(file), nil
}
