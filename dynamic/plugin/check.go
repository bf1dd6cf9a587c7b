package plugin

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// checkServices compares the services that a plugin's code provides with the manifest and the
// descriptors. It returns all differences as one error. If there are no services, the code has its
// own connection to the bus, and the loader has already checked what it serves. checkServices then
// does nothing.
func checkServices(source *Source, services []Service) error {
	if len(services) == 0 {
		return nil
	}
	wanted := source.ServiceNames()
	var problems []error
	given := map[protoreflect.FullName]bool{}
	for i, s := range services {
		if s.Descriptor == nil {
			problems = append(problems, invalid("service %d of the code has no descriptor", i+1))
			continue
		}
		name := s.Descriptor.FullName()
		given[name] = true
		if declared := source.service(string(name)); declared != nil {
			problems = append(problems, compareService(declared, s.Descriptor))
		} else if len(wanted) > 0 && !slices.Contains(wanted, string(name)) {
			problems = append(problems, invalid("the code serves %s, which is not a service of the manifest", name))
		}
	}
	for _, name := range wanted {
		if !given[protoreflect.FullName(name)] {
			problems = append(problems, invalid("the code does not serve %s, a service of the manifest", name))
		}
	}
	return errors.Join(problems...)
}

// compareService compares the methods of a service in the code with those in the plugin's
// descriptors. It compares message types only by their names.
func compareService(wanted *registry.Service, descriptor protoreflect.ServiceDescriptor) error {
	given, err := registry.NewService(descriptor)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "service %s of the code: %w", descriptor.FullName(), err)
	}
	var problems []error
	for _, method := range given.Methods() {
		if _, ok := wanted.Method(method.Name()); !ok {
			problems = append(problems, invalid("the code serves %s, which is not in the descriptors", method.FullName()))
		}
	}
	for _, method := range wanted.Methods() {
		other, ok := given.Method(method.Name())
		if !ok {
			problems = append(problems, invalid("the code does not serve %s, which is in the descriptors", method.FullName()))
		} else if inCode, inDescriptors := signature(other), signature(method); inCode != inDescriptors {
			problems = append(problems, invalid("method %s is %s in the code, but %s in the descriptors",
				method.FullName(), inCode, inDescriptors))
		}
	}
	return errors.Join(problems...)
}

// signature describes the properties of a method on which clients and servers must agree.
func signature(m *registry.Method) string {
	return fmt.Sprintf("(%s) returns (%s), %s with %s routing, topics %t",
		m.Input().FullName(), m.Output().FullName(), m.Kind(), m.Routing(), m.Topics())
}

func sortedNames(loaders map[string]Loader) []string { return slices.Sorted(maps.Keys(loaders)) }
