package plugin

import (
	"maps"
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

// claims are the names, full and on the wire, that only one plugin at a time can have.
func (s *Source) claims() []string {
	names := map[string]bool{}
	for _, name := range s.Manifest.Services {
		names[name] = true
	}
	for _, service := range s.Services {
		names[string(service.Name())] = true
		names[service.WireName()] = true
	}
	return slices.Collect(maps.Keys(names))
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
