package process

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// checkReady compares the services that a process has reported as ready with those in the manifest
// and the descriptors. All differences are returned as one error.
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
			problem("the process does not serve %s, a service of the manifest", name)
		}
	}
	for _, service := range ready.Services {
		if len(wanted) > 0 && !slices.Contains(wanted, service.Name) {
			problem("the process serves %s, which is not a service of the manifest", service.Name)
		}
	}
	return errors.Join(problems...)
}

// compareMethods compares the wire name and the methods of one service with those in the
// descriptors. It calls problem for each difference.
func compareMethods(wanted *registry.Service, given childproto.Service, problem func(format string, args ...any)) {
	if given.WireName != "" && given.WireName != wanted.WireName() {
		problem("the process serves %s with the wire name %s, but its wire name in the manifest is %s",
			wanted.Name(), given.WireName, wanted.WireName())
	}
	for _, method := range wanted.Methods() {
		if !slices.Contains(given.Methods, method.Name()) {
			problem("the process does not serve %s, which is in the descriptors", method.FullName())
		}
	}
	for _, name := range given.Methods {
		if _, ok := wanted.Method(name); !ok {
			problem("the process serves %s/%s, which is not in the descriptors", wanted.Name(), name)
		}
	}
}
