package registry

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// typeIndex finds the messages and extensions of registered files. Several files may declare the
// same name, for example two plugins that each contain a copy of a shared file. The file added
// first takes precedence until it is removed. Lookups take no lock; addFile and removeFile need the
// registry's lock.
type typeIndex struct {
	// declared maps full names and extensionKeys to []protoreflect.Descriptor. The slices are
	// immutable.
	declared sync.Map
	refs     map[protoreflect.FileDescriptor]int
}

// extensionKey identifies an extension by the message that it extends and its field number.
type extensionKey struct {
	message protoreflect.FullName
	number  protoreflect.FieldNumber
}

// find returns the descriptor for a full name or extensionKey, or nil.
func (x *typeIndex) find(key any) protoreflect.Descriptor {
	if all, ok := x.declared.Load(key); ok {
		return all.([]protoreflect.Descriptor)[0]
	}
	return nil
}

// addFile adds a file and its imports. Each file is indexed once and reference-counted.
func (x *typeIndex) addFile(fd protoreflect.FileDescriptor) {
	if fd == nil || fd.IsPlaceholder() {
		return
	}
	if x.refs == nil {
		x.refs = make(map[protoreflect.FileDescriptor]int)
	}
	x.refs[fd]++
	if x.refs[fd] > 1 {
		return
	}
	rangeTypes(fd, x.add)
	for i := range fd.Imports().Len() {
		x.addFile(fd.Imports().Get(i).FileDescriptor)
	}
}

// removeFile releases one reference of a file and its imports.
func (x *typeIndex) removeFile(fd protoreflect.FileDescriptor) {
	if fd == nil || x.refs[fd] == 0 {
		return
	}
	x.refs[fd]--
	if x.refs[fd] > 0 {
		return
	}
	delete(x.refs, fd)
	rangeTypes(fd, x.remove)
	for i := range fd.Imports().Len() {
		x.removeFile(fd.Imports().Get(i).FileDescriptor)
	}
}

func (x *typeIndex) add(key any, d protoreflect.Descriptor) {
	all, _ := x.declared.Load(key)
	old, _ := all.([]protoreflect.Descriptor)
	x.declared.Store(key, append(slices.Clone(old), d))
}

func (x *typeIndex) remove(key any, d protoreflect.Descriptor) {
	all, _ := x.declared.Load(key)
	old, _ := all.([]protoreflect.Descriptor)
	rest := slices.DeleteFunc(slices.Clone(old), func(other protoreflect.Descriptor) bool { return other == d })
	if len(rest) == 0 {
		x.declared.Delete(key)
		return
	}
	x.declared.Store(key, rest)
}

// typeScope is a file or a message, both of which declare messages and extensions.
type typeScope interface {
	Messages() protoreflect.MessageDescriptors
	Extensions() protoreflect.ExtensionDescriptors
}

// rangeTypes calls visit for each message and extension in scope, including nested ones. Extensions
// are visited twice, once for each of their keys.
func rangeTypes(scope typeScope, visit func(key any, d protoreflect.Descriptor)) {
	for i := range scope.Extensions().Len() {
		xd := scope.Extensions().Get(i)
		visit(xd.FullName(), xd)
		visit(extensionKey{xd.ContainingMessage().FullName(), xd.Number()}, xd)
	}
	for i := range scope.Messages().Len() {
		md := scope.Messages().Get(i)
		visit(md.FullName(), md)
		rangeTypes(md, visit)
	}
}
