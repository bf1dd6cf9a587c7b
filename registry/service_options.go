package registry

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Option configures a [Service] when it is created.
type Option func(*serviceConfig)

type serviceConfig struct {
	wireName *string
}

// WithWireName sets the name of a service on the bus. Clients and servers must use the same name.
// The default is the name that psrpc uses, which is the simple name of the service in CamelCase.
// The name is inserted into NATS subjects unchanged. It must therefore not be empty, and it must
// not contain whitespace, control characters or wildcards. It also must not start or end with a
// dot, or contain two dots in a row.
func WithWireName(name string) Option {
	return func(c *serviceConfig) { c.wireName = &name }
}

// checkWireName returns an error if name is not a valid name for a service on the bus.
func checkWireName(name string) error {
	forbidden := func(r rune) bool {
		return r == '*' || r == '>' || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r)
	}
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidWireName)
	case strings.ContainsFunc(name, forbidden):
		return fmt.Errorf("%w: %q has a space, a control character, a wildcard or invalid UTF-8", ErrInvalidWireName, name)
	case strings.Contains("."+name+".", ".."):
		return fmt.Errorf("%w: %q has an empty part before, after or between dots", ErrInvalidWireName, name)
	default:
		return nil
	}
}
