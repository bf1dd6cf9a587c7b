package plugin

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Source is the content of a plugin's folder at the time when the folder was read. Later changes to
// the folder do not change the Source.
type Source struct {
	Manifest

	// Folder is the path of the plugin's folder.
	Folder string
	// Content is the content of the code file. It must not be modified.
	Content []byte
	// Digest is the SHA-256 checksum of Content, in hex.
	Digest string
	// Services contains the services selected by the manifest, with their wire names. It is empty
	// if the manifest has no descriptors.
	Services []*registry.Service

	// grpcServices contains the names of the gRPC services in the descriptors. Plugins cannot serve
	// gRPC services.
	grpcServices []string
	// fingerprint identifies the content of all files that were read. If it has not changed, a
	// plugin that is being served is not loaded again.
	fingerprint string
}

// ServiceNames returns the sorted full names of the services that the code must serve. These are
// the services listed in the manifest or, if the manifest does not list any, all services of the
// descriptors. The result is empty if the manifest has neither services nor descriptors.
func (s *Source) ServiceNames() []string {
	names := slices.Clone(s.Manifest.Services)
	for _, service := range s.Services {
		names = append(names, string(service.Name()))
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}
