package plugin

import "github.com/dynpsrpc/dynpsrpc/registry"

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
}
