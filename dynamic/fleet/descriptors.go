package fleet

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// filesOf returns a file and all files that it imports, directly or indirectly, sorted by path. If
// comments is false, the result contains neither comments nor positions in the sources.
func filesOf(file protoreflect.FileDescriptor, comments bool) []*descriptorpb.FileDescriptorProto {
	files := make(map[string]*descriptorpb.FileDescriptorProto)
	addFile(files, file, comments)
	sorted := make([]*descriptorpb.FileDescriptorProto, 0, len(files))
	for _, path := range slices.Sorted(maps.Keys(files)) {
		sorted = append(sorted, files[path])
	}
	return sorted
}

func addFile(files map[string]*descriptorpb.FileDescriptorProto, file protoreflect.FileDescriptor, comments bool) {
	if files[file.Path()] != nil || file.IsPlaceholder() {
		return
	}
	encoded := protodesc.ToFileDescriptorProto(file)
	if !comments {
		encoded.SourceCodeInfo = nil
	}
	files[file.Path()] = encoded
	for i := range file.Imports().Len() {
		addFile(files, file.Imports().Get(i).FileDescriptor, comments)
	}
}
