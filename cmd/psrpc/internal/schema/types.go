package schema

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// FindType returns the message or enum with the given name: a full name, or a suffix of it that is
// unique. It looks in the files of services and in their imports. If there is no such type, it
// returns nil and no error.
func FindType(services []*registry.Service, name string) (protoreflect.Descriptor, error) {
	wanted := newPattern(name)
	types := map[string]protoreflect.Descriptor{}
	seen := map[string]bool{}
	for _, service := range services {
		addTypes(types, seen, service.Descriptor().ParentFile())
	}
	for _, matches := range []func(string) bool{wanted.equals, wanted.matches} {
		var names []string
		for full := range types {
			if matches(full) {
				names = append(names, full)
			}
		}
		switch len(names) {
		case 0:
		case 1:
			return types[names[0]], nil
		default:
			slices.Sort(names)
			return nil, ambiguous(name, names)
		}
	}
	return nil, nil //nolint:nilnil // the caller reports where the name was looked for
}

// addTypes adds the messages and enums of a file and of its imports to types. seen contains the
// files that were added before.
func addTypes(types map[string]protoreflect.Descriptor, seen map[string]bool, file protoreflect.FileDescriptor) {
	if seen[file.Path()] || file.IsPlaceholder() {
		return
	}
	seen[file.Path()] = true
	addNested(types, file.Messages(), file.Enums())
	for i := range file.Imports().Len() {
		addTypes(types, seen, file.Imports().Get(i).FileDescriptor)
	}
}

func addNested(types map[string]protoreflect.Descriptor, messages protoreflect.MessageDescriptors, enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		types[string(enums.Get(i).FullName())] = enums.Get(i)
	}
	for i := range messages.Len() {
		message := messages.Get(i)
		if message.IsMapEntry() {
			continue
		}
		types[string(message.FullName())] = message
		addNested(types, message.Messages(), message.Enums())
	}
}
