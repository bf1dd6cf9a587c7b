package rest

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// node is a node of a tree of path templates. Each edge is a segment. A literal segment takes
// precedence over "*", and "*" over "**".
type node struct {
	literals map[string]*node
	wildcard *node
	// ends contains the routes whose template ends here. rests contains the routes whose template
	// ends here with a final "**".
	ends, rests verbs
}

// verbs contains routes, keyed by the verb after the colon and then by HTTP method.
type verbs map[string]map[string]*route

// insert adds a route. It returns an error if another route has the same path and HTTP method.
func (n *node) insert(r *route) error {
	ends := &n.ends
	for _, s := range r.template.segments {
		switch s.kind {
		case kindRest:
			ends = &n.rests
			continue // "**" is the last segment
		case kindWildcard:
			if n.wildcard == nil {
				n.wildcard = &node{}
			}
			n = n.wildcard
		case kindLiteral:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			if n.literals[s.text] == nil {
				n.literals[s.text] = &node{}
			}
			n = n.literals[s.text]
		}
		ends = &n.ends
	}
	if *ends == nil {
		*ends = verbs{}
	}
	methods := (*ends)[r.template.verb]
	if methods == nil {
		methods = map[string]*route{}
		(*ends)[r.template.verb] = methods
	}
	if other := methods[r.httpMethod]; other != nil {
		return fmt.Errorf("%s %s is a path of %s", r.httpMethod, r.path, other.method.FullName())
	}
	methods[r.httpMethod] = r
	return nil
}

// findRoute returns the route for a path, which is percent-encoded, and the values of its variables.
// If there is no route, allow contains the HTTP methods of other routes for that path.
func (n *node) findRoute(httpMethod, path string) (found *route, values, allow []string) {
	path, isAbsolute := strings.CutPrefix(path, "/")
	if !isAbsolute {
		return nil, nil, nil
	}
	search := search{httpMethod: httpMethod}
	segments := strings.Split(path, "/")
	last := len(segments) - 1
	if colon := strings.LastIndexByte(segments[last], ':'); colon >= 0 {
		withoutVerb := slices.Clone(segments)
		withoutVerb[last] = segments[last][:colon]
		if verb, err := url.PathUnescape(segments[last][colon+1:]); err == nil && verb != "" {
			if found, values = search.run(n, withoutVerb, verb); found != nil || len(search.allow) > 0 {
				return found, values, search.allow
			}
		}
	}
	found, values = search.run(n, segments, "")
	return found, values, search.allow
}

// search looks for the route of a request.
type search struct {
	httpMethod string
	verb       string
	// allow collects the HTTP methods of routes that have the path but not the HTTP method.
	allow []string
}

func (s *search) run(root *node, path []string, verb string) (*route, []string) {
	s.verb = verb
	decoded := make([]string, len(path))
	for i, segment := range path {
		var err error
		if decoded[i], err = url.PathUnescape(segment); err != nil {
			return nil, nil
		}
	}
	found := s.find(root, decoded)
	if found == nil {
		return nil, nil
	}
	values := make([]string, len(found.template.variables))
	for i, v := range found.template.variables {
		var err error
		if values[i], err = found.template.value(v, path); err != nil {
			return nil, nil
		}
	}
	return found, values
}

// find returns the route for the rest of a path, or nil. It visits each node of the tree at most
// once.
func (s *search) find(n *node, path []string) *route {
	if len(path) == 0 {
		if found := s.pick(n.ends); found != nil {
			return found
		}
		return s.pick(n.rests)
	}
	if child := n.literals[path[0]]; child != nil {
		if found := s.find(child, path[1:]); found != nil {
			return found
		}
	}
	if n.wildcard != nil && path[0] != "" {
		if found := s.find(n.wildcard, path[1:]); found != nil {
			return found
		}
	}
	return s.pick(n.rests)
}

// pick returns the route for the verb and the HTTP method. A custom method "*" stands for all HTTP
// methods.
func (s *search) pick(v verbs) *route {
	methods := v[s.verb]
	if found := methods[s.httpMethod]; found != nil {
		return found
	}
	if found := methods["*"]; found != nil {
		return found
	}
	s.allow = slices.AppendSeq(s.allow, maps.Keys(methods))
	return nil
}
