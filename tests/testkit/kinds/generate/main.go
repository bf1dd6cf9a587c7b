// Command generate runs protoc-gen-go, which must be in PATH, to generate text.pb.go from
// text.proto. Unlike protoc, the command does not need a copy of buf/validate/validate.proto,
// because it links the Go package that contains the file's descriptor.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate" // imported by text.proto
	"github.com/jhump/protoreflect/desc"                                        //nolint:staticcheck // deprecated, but this module uses it
	"github.com/jhump/protoreflect/desc/protoparse"                             //nolint:staticcheck // deprecated, but this module uses it
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const path = "kinds/text.proto"

func main() {
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	parser := protoparse.Parser{ImportPaths: []string{".."}, LookupImport: desc.LoadFileDescriptor, IncludeSourceCodeInfo: true}
	files, err := parser.ParseFiles(path)
	if err != nil {
		return err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{path}, Parameter: new("paths=source_relative"), ProtoFile: withImports(nil, files[0]),
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	plugin := exec.CommandContext(context.Background(), "protoc-gen-go")
	plugin.Stdin, plugin.Stderr = bytes.NewReader(encoded), os.Stderr
	output, err := plugin.Output()
	if err != nil {
		return err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output, response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("protoc-gen-go: %s", response.GetError())
	}
	return os.WriteFile("text.pb.go", []byte(response.GetFile()[0].GetContent()), 0o600)
}

// withImports appends the descriptors of file's imports to files, then the descriptor of file
// itself, and returns the result. It does not append descriptors that are already in files.
func withImports(files []*descriptorpb.FileDescriptorProto, file *desc.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	for _, imported := range file.GetDependencies() {
		files = withImports(files, imported)
	}
	for _, known := range files {
		if known.GetName() == file.GetName() {
			return files
		}
	}
	return append(files, file.AsFileDescriptorProto())
}
