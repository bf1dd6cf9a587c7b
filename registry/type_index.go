package registry

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// typeIndex finds the messages and extensions of files. Files may come and go, and several may
// declare the same name (two plugins that each bring a copy of a shared file): the oldest one counts.
// Lookups take no lock; addFile and removeFile need the lock of the registry.
type typeIndex struct {
	declared sync.Map // full name or extensionKey to []protoreflect.Descriptor, which is never modified
	refs     map[protoreflect.FileDescriptor]int
}

// extensionKey is the message an extension extends and the number it has there.
type extensionKey struct {
	message protoreflect.FullName
	number  protoreflect.FieldNumber
}

// find returns the descriptor under a full name or extensionKey, or nil.
func (x *typeIndex) find(key any) protoreflect.Descriptor {
	if all, ok := x.declared.Load(key); ok {
		return all.([]protoreflect.Descriptor)[0]
	}
	return nil
}

// addFile adds a file and its imports, or one more use of it.
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

// removeFile takes back one addFile.
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

// typeScope is what files and messages have in common: both declare messages and extensions.
type typeScope interface {
	Messages() protoreflect.MessageDescriptors
	Extensions() protoreflect.ExtensionDescriptors
}

// rangeTypes calls visit with every key of every message and extension in scope, nested ones included.
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
