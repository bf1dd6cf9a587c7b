package wasm

import (
	"fmt"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// parseMethodList parses the result of dynpsrpc_describe, which contains one method per line.
func parseMethodList(list string) ([]string, error) {
	if list == "" {
		return nil, errors.New("module has no handlers: in Go, register them with guest.Handle in an init function")
	}
	methods := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	seen := make(map[string]bool, len(methods))
	for _, method := range methods {
		service, name, ok := strings.Cut(method, "/")
		switch {
		case !ok || service == "" || name == "":
			return nil, fmt.Errorf("module lists the method %.200q: want a name like \"pkg.Service/Method\"", method)
		case seen[method]:
			return nil, fmt.Errorf("module has two handlers for %.200q", method)
		}
		seen[method] = true
	}
	return methods, nil
}

// checkMethod returns an error if the module cannot serve method. A module cannot serve streams. It
// must not have a handler for a subscription, but needs one for any other method. served reports
// whether the module has a handler for method.
func checkMethod(method *registry.Method, served bool) error {
	switch kind := method.Kind(); {
	case kind == registry.KindStream:
		return fmt.Errorf("method %s is a stream, which WebAssembly plugins do not support", method.FullName())
	case kind == registry.KindSubscription && served:
		return fmt.Errorf("module has a handler for %s, which is a subscription: remove the handler", method.FullName())
	case kind != registry.KindSubscription && !served:
		return fmt.Errorf("module has no handler for %s", method.FullName())
	}
	return nil
}
