package registry

import (
	"fmt"
	"io/fs"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// RegisterDescriptorSet adds all services declared in the files of a descriptor set. If it returns
// an error, no service has been added. Create the set with protoc --include_imports -o or with buf
// build. Source info is optional. The set must contain all imports except protobuf's own files and
// the psrpc options, which are built in. The error either describes a problem with the set itself
// or is one that [Registry.RegisterFile] returns. RegisterDescriptorSet leaves out the same
// services as RegisterFile. It does not retain fds.
func (r *Registry) RegisterDescriptorSet(fds *descriptorpb.FileDescriptorSet) error {
	if len(fds.GetFile()) == 0 {
		return fmt.Errorf("%w: the descriptor set is empty", ErrNoService)
	}
	var services []protoreflect.ServiceDescriptor
	err := recoverToError(func() error {
		files, err := linkSet(fds)
		if err != nil {
			return err
		}
		for _, file := range fds.GetFile() {
			fd, err := files.FindFileByPath(file.GetName())
			if err != nil {
				return fmt.Errorf("descriptor set: file %s: %w", file.GetName(), err)
			}
			services = append(services, servicesOf(fd)...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.registerAll(services)
}

// LoadDescriptorSet reads a descriptor set from a file of fsys and then works like
// [Registry.RegisterDescriptorSet]. The file must contain an encoded descriptor set, such as those
// that protoc -o and buf build write. If the file does not exist, the error wraps fs.ErrNotExist.
func (r *Registry) LoadDescriptorSet(fsys fs.FS, name string) error {
	if nilarg.Is(fsys) {
		return fmt.Errorf("%w: the file system is nil", ErrNoService)
	}
	encoded, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("descriptor set: %w", err)
	}
	fds := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(encoded, fds); err != nil {
		return fmt.Errorf("descriptor set: file %s is not a descriptor set: %w", name, err)
	}
	if err := r.RegisterDescriptorSet(fds); err != nil {
		return fmt.Errorf("file %s: %w", name, err)
	}
	return nil
}

// linkSet resolves the imports between the files in a set and returns their descriptors.
func linkSet(fds *descriptorpb.FileDescriptorSet) (*protoregistry.Files, error) {
	set := make(fileSet, len(fds.GetFile()))
	for i, file := range fds.GetFile() {
		if file == nil {
			return nil, fmt.Errorf("descriptor set: file %d is nil", i)
		}
		set[file.GetName()] = file
	}
	complete, err := set.withBuiltins(fds.GetFile())
	if err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: complete})
	if err != nil {
		return nil, fmt.Errorf("descriptor set: %w", err)
	}
	return files, nil
}

// fileSet maps the paths of the user's files to their descriptors.
type fileSet map[string]*descriptorpb.FileDescriptorProto

// withBuiltins returns files followed by the built-in files that they import, directly or
// indirectly. It omits a built-in file if the set contains a file with the same path.
func (s fileSet) withBuiltins(files []*descriptorpb.FileDescriptorProto) ([]*descriptorpb.FileDescriptorProto, error) {
	files = slices.Clone(files)
	added := make(map[string]bool)
	var problems []error
	// This loop does not use range, because the loop body appends to files.
	for i := 0; i < len(files); i++ {
		for _, path := range files[i].GetDependency() {
			if s.has(path) || added[path] {
				continue
			}
			builtin, ok := s.builtin(path)
			if !ok {
				problems = append(problems, &SchemaError{
					File: files[i].GetName(),
					Err:  fmt.Errorf("import %q is not in the descriptor set: create it with protoc --include_imports", path),
				})
				continue
			}
			added[path] = true
			files = append(files, builtin)
		}
	}
	return files, errors.Join(problems...)
}

// builtin returns the built-in file for an import path and reports whether there is one.
func (s fileSet) builtin(path string) (*descriptorpb.FileDescriptorProto, bool) {
	if fd, ok := standardFile(path); ok {
		return protodesc.ToFileDescriptorProto(fd), true
	}
	source, ok := builtinOptions(path, s)
	if !ok {
		return nil, false
	}
	file, err := parseUnlinked(path, source, new(problemList))
	return file, err == nil
}

// has implements userFiles.
func (s fileSet) has(path string) bool { return s[path] != nil }

// declaresOptions implements userFiles.
func (s fileSet) declaresOptions(path string) bool { return declaresOptions(s[path]) }

// declaresOptions reports whether file declares the psrpc options. file may be nil.
func declaresOptions(file *descriptorpb.FileDescriptorProto) bool {
	return file.GetPackage() == "psrpc" && slices.ContainsFunc(file.GetMessageType(),
		func(message *descriptorpb.DescriptorProto) bool { return message.GetName() == "Options" })
}
