package fleet

import (
	"fmt"
	"strings"
)

// Version is a version of a service in a fleet.
type Version struct {
	Digest Digest
	// Name is the full name of the service, and WireName its name on the bus.
	Name, WireName string
	// Servers contains the sorted IDs of the servers that serve this version.
	Servers []string
}

// versionKey identifies a version of a service.
type versionKey struct {
	digest         Digest
	name, wireName string
}

func (v *Version) key() versionKey { return versionKey{v.Digest, v.Name, v.WireName} }

// VersionsError is returned by [Fleet.Registry] if servers serve different versions of a service.
type VersionsError struct {
	// Service is the full name of the service.
	Service string
	// Versions contains at least two versions. Those with the most servers come first.
	Versions []Version
}

// Error implements error. It names all versions, and up to three servers of each.
func (e *VersionsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "service %s has %d versions:", e.Service, len(e.Versions))
	for i, v := range e.Versions {
		if i > 0 {
			b.WriteByte(';')
		}
		named := v.Servers[:min(len(v.Servers), 3)]
		fmt.Fprintf(&b, " %s on %s", v.Digest, strings.Join(named, ", "))
		if more := len(v.Servers) - len(named); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
	}
	return b.String()
}
