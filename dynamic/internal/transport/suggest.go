package transport

import (
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Suggest returns the text "; did you mean X?", which can be appended to an error about an unknown
// method. X is the method name that is most similar to name; see [similar.Find]. Suggest calls
// nameOf to get the name of each method. It returns "" if no method has a similar name.
func Suggest(name string, methods []*registry.Method, nameOf func(*registry.Method) string) string {
	names := make([]string, len(methods))
	for i, method := range methods {
		names[i] = nameOf(method)
	}
	return similar.Hint(name, names)
}
