package plugin

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Source is the folder of one version of a plugin, as it was read: later changes to the folder do not matter to it.
type Source struct {
	Manifest

	// Folder is the path of the plugin's folder.
	Folder string
	// Content is the file with the code. It must not be changed.
	Content []byte
	// Digest is the SHA-256 of Content, in hex.
	Digest string
	// Services are those of the manifest, with their wire names; none if the manifest names no descriptors.
	Services []*registry.Service

	fingerprint string // of all files that were read
}

// ServiceNames returns the full names of the services that the code is to serve, sorted: those of the manifest, or all of its
// descriptors; none if it says nothing of them.
func (s *Source) ServiceNames() []string {
	names := slices.Clone(s.Manifest.Services)
	for _, service := range s.Services {
		names = append(names, string(service.Name()))
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// namesToReserve are the names, full and on the wire, that only one plugin at a time can have.
func (s *Source) namesToReserve() []string {
	names := s.ServiceNames()
	for _, service := range s.Services {
		names = append(names, service.WireName())
	}
	return names
}

// service returns nil if the manifest has no descriptor of it.
func (s *Source) service(fullName string) *registry.Service {
	for _, service := range s.Services {
		if string(service.Name()) == fullName {
			return service
		}
	}
	return nil
}
