package process

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// checkReady compares what a process serves with what its manifest says. All differences are reported together.
func checkReady(source *plugin.Source, ready childproto.Ready) error {
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument, format, args...))
	}
	served := map[string]childproto.Service{}
	for _, service := range ready.Services {
		served[service.Name] = service
	}
	for _, service := range source.Services {
		if given, ok := served[string(service.Name())]; ok {
			compareMethods(service, given, problem)
		}
	}
	wanted := source.ServiceNames()
	for _, name := range wanted {
		if _, ok := served[name]; !ok {
			problem("its process does not serve %s, a service of its manifest", name)
		}
	}
	for _, service := range ready.Services {
		if len(wanted) > 0 && !slices.Contains(wanted, service.Name) {
			problem("its process serves %s, which is not a service of its manifest", service.Name)
		}
	}
	return errors.Join(problems...)
}

func compareMethods(wanted *registry.Service, given childproto.Service, problem func(format string, args ...any)) {
	if given.WireName != "" && given.WireName != wanted.WireName() {
		problem("its process serves %s as %s on the bus, and by its manifest that is %s",
			wanted.Name(), given.WireName, wanted.WireName())
	}
	for _, method := range wanted.Methods() {
		if !slices.Contains(given.Methods, method.Name()) {
			problem("its process does not serve %s, which is in its descriptors", method.FullName())
		}
	}
	for _, name := range given.Methods {
		if _, ok := wanted.Method(name); !ok {
			problem("its process serves %s/%s, which is not in its descriptors", wanted.Name(), name)
		}
	}
}
