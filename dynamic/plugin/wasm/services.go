package wasm

import (
	"context"
	"fmt"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// describe asks the code which methods it serves.
func (in *instance) describe(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ctx = in.begin(ctx)
	packed, err := in.module.ExportedFunction(exportDescribe).Call(ctx)
	if err != nil {
		return nil, in.newFault(ctx, err)
	}
	list, err := in.readResult(packed[0])
	if err != nil {
		return nil, err
	}
	return parseMethodList(string(list))
}

// parseMethodList reads what describe has returned: a method a line.
func parseMethodList(list string) ([]string, error) {
	if list == "" {
		return nil, errors.New("the code has no handlers: in Go they are registered with guest.Handle, in an init function")
	}
	methods := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	seen := make(map[string]bool, len(methods))
	for _, method := range methods {
		service, name, ok := strings.Cut(method, "/")
		switch {
		case !ok || service == "" || name == "":
			return nil, fmt.Errorf("the code says that it serves %.200q: it must be like \"pkg.Service/Method\"", method)
		case seen[method]:
			return nil, fmt.Errorf("the code has two handlers for %.200q", method)
		}
		seen[method] = true
	}
	return methods, nil
}

// bindServices returns the services with a handler for each method, or says all in which the code differs from them.
func (c *loadedPlugin) bindServices(services []*registry.Service, served []string) ([]plugin.Service, error) {
	indexes := make(map[string]uint32, len(served))
	for index, method := range served {
		indexes[method] = uint32(index)
	}
	var errs []error
	result := make([]plugin.Service, 0, len(services))
	for _, service := range services {
		handlers := dynamic.Handlers{}
		for _, method := range service.Methods() {
			index, ok := indexes[method.FullName()]
			delete(indexes, method.FullName())
			switch err := checkMethod(method, ok); {
			case err != nil:
				errs = append(errs, err)
			case ok:
				handlers[method.Name()] = c.handler(index)
			}
		}
		result = append(result, plugin.Service{
			Descriptor: service.Descriptor(), Handlers: handlers,
			Options: []dynamic.RegisterOption{dynamic.WithWireName(service.WireName())},
		})
	}
	for _, method := range served {
		if _, unbound := indexes[method]; unbound {
			errs = append(errs, fmt.Errorf("the code serves %s, which is not in the services of the plugin", method))
		}
	}
	if len(services) == 0 {
		errs = append(errs, errors.New("the manifest names no descriptors: they must have the methods that the code serves"))
	}
	return result, errors.Join(errs...)
}

// checkMethod says why code cannot serve a method, or why it must.
func checkMethod(method *registry.Method, served bool) error {
	switch kind := method.Kind(); {
	case kind == registry.KindStream:
		return fmt.Errorf("method %s is a stream, which WebAssembly cannot serve", method.FullName())
	case kind == registry.KindSubscription && served:
		return fmt.Errorf("the code has a handler for %s, which is a subscription: it needs none", method.FullName())
	case kind != registry.KindSubscription && !served:
		return fmt.Errorf("the code has no handler for %s", method.FullName())
	}
	return nil
}

// handler serves the method that the code has at the place.
func (c *loadedPlugin) handler(index uint32) dynamic.Handler {
	return dynamic.Raw(func(ctx context.Context, method *registry.Method, request []byte) ([]byte, error) {
		return c.serve(ctx, method, index, request)
	})
}
