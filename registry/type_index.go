package registry

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// typeIndex indexes the messages and extensions declared in registered files. Several files may
// declare the same name, for example if two plugins each contain a copy of a shared file. The file
// that was added first takes precedence until it is removed. Lookups take no locks. Callers of
// addFile and removeFile must hold Registry.mu.
type typeIndex struct {
	// declared maps each full name and each extensionKey to the declarations with that key, as a
	// []*declaration. The slices are immutable.
	declared sync.Map
	// refs counts the references to each file, from registered services and from imports.
	refs map[protoreflect.FileDescriptor]int
}

// extensionKey identifies an extension by the message that it extends and by its field number.
type extensionKey struct {
	message protoreflect.FullName
	number  protoreflect.FieldNumber
}

// declaration is a message or an extension that a registered file declares.
type declaration struct {
	descriptor protoreflect.Descriptor
	// goType returns the message or extension type of the descriptor. The first call creates the
	// type.
	goType func() any
}

func newDeclaration(d protoreflect.Descriptor) *declaration {
	return &declaration{descriptor: d, goType: sync.OnceValue(func() any { return goTypeOf(d) })}
}

// find returns the message or extension type for a full name or an extensionKey. It returns nil if
// there is none.
func (x *typeIndex) find(key any) any {
	if all, ok := x.declared.Load(key); ok {
		return all.([]*declaration)[0].goType()
	}
	return nil
}

// addFile adds a file and its imports. Files are reference-counted and indexed only once.
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

// removeFile releases one reference to a file. When the last reference is released, the file is
// removed from the index and its imports are released.
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

func (x *typeIndex) add(d protoreflect.Descriptor) {
	added := newDeclaration(d)
	for _, key := range keysOf(d) {
		all, _ := x.declared.Load(key)
		old, _ := all.([]*declaration)
		x.declared.Store(key, append(slices.Clone(old), added))
	}
}

func (x *typeIndex) remove(d protoreflect.Descriptor) {
	for _, key := range keysOf(d) {
		all, _ := x.declared.Load(key)
		old, _ := all.([]*declaration)
		rest := slices.DeleteFunc(slices.Clone(old), func(other *declaration) bool { return other.descriptor == d })
		if len(rest) == 0 {
			x.declared.Delete(key)
		} else {
			x.declared.Store(key, rest)
		}
	}
}

// keysOf returns the keys under which a message or an extension is found: its full name and, for an
// extension, its extensionKey.
func keysOf(d protoreflect.Descriptor) []any {
	if xd, ok := d.(protoreflect.ExtensionDescriptor); ok {
		return []any{xd.FullName(), extensionKey{xd.ContainingMessage().FullName(), xd.Number()}}
	}
	return []any{d.FullName()}
}

// typeScope is implemented by file and message descriptors, because both files and messages can
// declare messages and extensions.
type typeScope interface {
	Messages() protoreflect.MessageDescriptors
	Extensions() protoreflect.ExtensionDescriptors
}

// rangeTypes calls visit for each message and extension declared in scope, including nested ones.
func rangeTypes(scope typeScope, visit func(protoreflect.Descriptor)) {
	for i := range scope.Extensions().Len() {
		visit(scope.Extensions().Get(i))
	}
	for i := range scope.Messages().Len() {
		md := scope.Messages().Get(i)
		visit(md)
		rangeTypes(md, visit)
	}
}

// goTypeOf returns the message type or the extension type of a descriptor. It is the type in the
// program's generated Go code if that type has the same schema, and a dynamic type otherwise.
func goTypeOf(d protoreflect.Descriptor) any {
	switch d := d.(type) {
	case protoreflect.MessageDescriptor:
		linked, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
		if err == nil && make(schemaComparison).message(linked.Descriptor(), d) {
			return linked
		}
		return dynamicpb.NewMessageType(d)
	case protoreflect.ExtensionTypeDescriptor:
		return d.Type()
	case protoreflect.ExtensionDescriptor:
		linked, err := protoregistry.GlobalTypes.FindExtensionByName(d.FullName())
		if err == nil && make(schemaComparison).field(linked.TypeDescriptor(), d) {
			return linked
		}
		return dynamicpb.NewExtensionType(d)
	default:
		return nil
	}
}
