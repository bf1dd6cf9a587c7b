package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
)

// pattern is the name of a method or service as the user has typed it.
type pattern struct {
	// name is what the user has typed.
	name string
	// canonical is the name with a dot in place of each slash.
	canonical string
}

func newPattern(name string) pattern {
	return pattern{name: name, canonical: canonical(strings.TrimPrefix(name, "/"))}
}

func canonical(name string) string { return strings.ReplaceAll(name, "/", ".") }

// matches reports whether full is the name, or ends with it after a dot or a slash.
func (p pattern) matches(full string) bool {
	full = canonical(full)
	return full == p.canonical || strings.HasSuffix(full, "."+p.canonical)
}

// equals reports whether full is the name.
func (p pattern) equals(full string) bool { return canonical(full) == p.canonical }

// search looks for a name in several places, one after the other. It remembers the names that it
// has seen, for hints.
type search struct {
	wanted pattern
	names  namesOf
	seen   []string
}

// The method in returns the version that has a matching name, or nil if there is none. An exact
// match takes precedence over a name that only ends with what the user has typed. If several names
// match, or if there are several versions of the service, the error names them.
func (s *search) in(versions []Version) (*Version, error) {
	for _, matches := range []func(string) bool{s.wanted.equals, s.wanted.matches} {
		var names []string
		var found []Version
		for _, version := range versions {
			for _, name := range s.names(version) {
				if !matches(name) {
					continue
				}
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
				found = append(found, version)
			}
		}
		switch {
		case len(names) > 1:
			return nil, ambiguous(s.wanted.name, names)
		case len(found) > 1:
			return nil, &VersionsError{Service: found[0].Service, Versions: found}
		case len(found) == 1:
			return &found[0], nil
		}
	}
	for _, version := range versions {
		s.seen = append(s.seen, s.names(version)...)
	}
	return nil, nil //nolint:nilnil // the caller looks elsewhere
}

// hint suggests a seen name that is similar to the wanted one. Like the wanted name, the suggestion
// may lack the package or the service.
func (s *search) hint() string {
	var candidates []string
	for _, full := range s.seen {
		candidates = append(candidates, full)
		for i, r := range full {
			if r == '.' || r == '/' {
				candidates = append(candidates, full[i+1:])
			}
		}
	}
	return similar.Hint(s.wanted.name, candidates)
}

// ErrAmbiguous is wrapped by an error about a name that fits several methods or services.
var ErrAmbiguous = errors.NewErrorf(errors.InvalidArgument, "ambiguous")

func ambiguous(name string, names []string) error {
	slices.Sort(names)
	return fmt.Errorf("%s is %w: %s", name, ErrAmbiguous, strings.Join(names, ", "))
}

// VersionsError says that servers have different versions of a service.
type VersionsError struct {
	Service  string
	Versions []Version
}

// Error implements error. The text names the versions and their servers.
func (e *VersionsError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s has %d versions; choose one with --digest:", e.Service, len(e.Versions))
	for _, version := range e.Versions {
		fmt.Fprintf(&text, "\n  %.8s  %s", version.Digest, serverList(version.Servers))
	}
	return text.String()
}

// serverList names at most three servers.
func serverList(ids []string) string {
	const most = 3
	slices.Sort(ids)
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}

// simpleName returns the part of a service's name after the last dot.
func simpleName(service string) string { return service[strings.LastIndexByte(service, '.')+1:] }

// wireNameOfMethod returns the simple name of a method's service: "Orders" for
// "shop.Orders/Place". A service usually has this name on the bus. The result is "" if method names
// no service.
func wireNameOfMethod(method string) string {
	full := canonical(strings.TrimPrefix(method, "/"))
	at := strings.LastIndexByte(full, '.')
	if at < 0 {
		return ""
	}
	return simpleName(full[:at])
}
