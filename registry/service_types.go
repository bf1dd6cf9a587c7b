package registry

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// serviceTypes finds the messages and extensions in the file of a service and in its imports. The
// fields file and registry are immutable once the service is in use.
type serviceTypes struct {
	file protoreflect.FileDescriptor
	// registry is the *Registry to which the service belongs, or nil.
	registry typeFinder

	// messages caches the types of the messages that have been looked up and found. It maps a full
	// name to a protoreflect.MessageType.
	messages sync.Map

	indexOnce sync.Once
	// files contains the file of the service and all its imports.
	files []protoreflect.FileDescriptor
	// extensions maps each full name and each extensionKey to the type of the extension.
	extensions map[any]protoreflect.ExtensionType
}

// typeFinder finds types by name. *Registry and *protoregistry.Types implement it.
type typeFinder interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// others returns the typeFinder that is used for types that no file of the service declares.
func (t *serviceTypes) others() typeFinder {
	if t.registry != nil {
		return t.registry
	}
	return protoregistry.GlobalTypes
}

// message returns the type of a message, or nil if no file of the service declares it.
func (t *serviceTypes) message(name protoreflect.FullName) protoreflect.MessageType {
	if known, ok := t.messages.Load(name); ok {
		return known.(protoreflect.MessageType)
	}
	t.indexOnce.Do(t.index)
	for _, file := range t.files {
		if md := messageIn(file, name); md != nil {
			known, _ := t.messages.LoadOrStore(name, goTypeOf(md))
			return known.(protoreflect.MessageType)
		}
	}
	return nil
}

// extension returns the type of an extension. key is its full name or its extensionKey. The result
// is nil if no file of the service declares the extension.
func (t *serviceTypes) extension(key any) protoreflect.ExtensionType {
	t.indexOnce.Do(t.index)
	return t.extensions[key]
}

// index fills the fields files and extensions.
func (t *serviceTypes) index() {
	t.extensions = make(map[any]protoreflect.ExtensionType)
	seen := make(map[protoreflect.FileDescriptor]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if nilarg.Is(file) || file.IsPlaceholder() || seen[file] {
			return
		}
		seen[file] = true
		t.files = append(t.files, file)
		rangeTypes(file, func(d protoreflect.Descriptor) {
			if _, isMessage := d.(protoreflect.MessageDescriptor); isMessage {
				return
			}
			xt := goTypeOf(d).(protoreflect.ExtensionType)
			for _, key := range keysOf(d) {
				t.extensions[key] = xt
			}
		})
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
	}
	add(t.file)
}

// messageIn returns the message with the given full name if the file declares it, and nil
// otherwise.
func messageIn(file protoreflect.FileDescriptor, name protoreflect.FullName) protoreflect.MessageDescriptor {
	path := string(name)
	if pkg := string(file.Package()); pkg != "" {
		rest, ok := strings.CutPrefix(path, pkg+".")
		if !ok {
			return nil
		}
		path = rest
	}
	outer, rest, nested := strings.Cut(path, ".")
	md := file.Messages().ByName(protoreflect.Name(outer))
	for nested && md != nil {
		outer, rest, nested = strings.Cut(rest, ".")
		md = md.Messages().ByName(protoreflect.Name(outer))
	}
	return md
}
