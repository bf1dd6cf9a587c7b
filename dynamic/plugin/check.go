package plugin

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// checkServices compares what code serves with what its manifest says. All differences are reported together.
func checkServices(source *Source, services []Service) error {
	if len(services) == 0 { // it serves by itself, and its loader has checked that
		return nil
	}
	wanted := source.ServiceNames()
	var problems []error
	given := map[protoreflect.FullName]bool{}
	for i, s := range services {
		if s.Descriptor == nil {
			problems = append(problems, invalid("service %d of its code has no descriptor", i+1))
			continue
		}
		name := s.Descriptor.FullName()
		given[name] = true
		if named := source.service(string(name)); named != nil {
			problems = append(problems, compareService(named, s.Descriptor))
		} else if len(wanted) > 0 && !slices.Contains(wanted, string(name)) {
			problems = append(problems, invalid("its code serves %s, which is not a service of its manifest", name))
		}
	}
	for _, name := range wanted {
		if !given[protoreflect.FullName(name)] {
			problems = append(problems, invalid("its code does not serve %s, a service of its manifest", name))
		}
	}
	return errors.Join(problems...)
}

// compareService lists the methods in which a service of the code is not that of the descriptors.
func compareService(wanted *registry.Service, descriptor protoreflect.ServiceDescriptor) error {
	given, err := registry.NewService(descriptor)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "service %s of its code: %w", descriptor.FullName(), err)
	}
	var problems []error
	for _, method := range given.Methods() {
		if _, ok := wanted.Method(method.Name()); !ok {
			problems = append(problems, invalid("its code serves %s, which is not in its descriptors", method.FullName()))
		}
	}
	for _, method := range wanted.Methods() {
		other, ok := given.Method(method.Name())
		if !ok {
			problems = append(problems, invalid("its code does not serve %s, which is in its descriptors", method.FullName()))
		} else if code, descriptors := shape(other), shape(method); code != descriptors {
			problems = append(problems, invalid("method %s is %s in its code, and %s in its descriptors",
				method.FullName(), code, descriptors))
		}
	}
	return errors.Join(problems...)
}

// shape is what callers see of a method.
func shape(m *registry.Method) string {
	return fmt.Sprintf("(%s) returns (%s), %s with %s routing, topics %t",
		m.Input().FullName(), m.Output().FullName(), m.Kind(), m.Routing(), m.Topics())
}

func sortedNames(loaders map[string]Loader) []string { return slices.Sorted(maps.Keys(loaders)) }
