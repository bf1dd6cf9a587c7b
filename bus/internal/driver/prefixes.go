package driver

import (
	"maps"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Prefixes collects the prefixes of channel names for [bus.Inspector]. It keeps at most
// [bus.MaxPrefixes] of them. It is not safe for concurrent use.
type Prefixes struct {
	own   string
	found map[string]bool
}

// NewPrefixes returns an empty collection. own is the prefix of the bus itself.
func NewPrefixes(own string) *Prefixes { return &Prefixes{own: own, found: map[string]bool{}} }

// Add adds the prefix of a channel name. prefixOf returns the prefix of a name, and false if the
// name does not belong to psrpc or dynpsrpc. Add removes the bus's own prefix before it calls
// prefixOf, because that prefix may look like a part of a channel name.
func (p *Prefixes) Add(name string, prefixOf func(rest string) (prefix string, ok bool)) {
	rest, isOwn := strings.CutPrefix(name, p.own)
	prefix, ok := prefixOf(rest)
	if isOwn {
		prefix = p.own + prefix
	}
	if ok && len(p.found) < bus.MaxPrefixes {
		p.found[prefix] = true
	}
}

// Sorted returns the collected prefixes in lexical order.
func (p *Prefixes) Sorted() []string { return slices.Sorted(maps.Keys(p.found)) }
