package plugin

import "time"

// ManifestName is the name of the manifest in the folder of a plugin.
const ManifestName = "plugin.json"

// Manifest is what a plugin says of itself, as JSON. Names of files are relative to its folder, and inside it.
type Manifest struct {
	// Name is what the host knows the plugin by; the name of the folder unless given.
	Name string `json:"name"`
	// Version is for people: a version replaces the one before it, whatever their names.
	Version string `json:"version"`
	// Loader names the [Loader] that runs the code.
	Loader string `json:"loader"`
	// Code is the file with the code.
	Code string `json:"code"`
	// SHA256 is the checksum of the code in hex; if it is given, other code is not loaded.
	SHA256 string `json:"sha256,omitempty"`
	// Descriptors is a file: a FileDescriptorSet, as protoc -o and buf build write it, or, if it ends in .proto, a
	// source, which may import others of the folder.
	Descriptors string `json:"descriptors,omitempty"`
	// Services are the full names of the services that the code serves: all of the descriptors unless given.
	Services []string `json:"services,omitempty"`
	// WireNames are names of services on the bus, by full name, where they are others than psrpc would give them.
	WireNames map[string]string `json:"wire_names,omitempty"`
	// Limits are what the code may use.
	Limits Limits `json:"limits"`
	// Args and Env are given to code that is a process. Env has entries of the form name=value.
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
}

// Limits are what code may use; 0 is what the loader takes for usual. Not every loader can keep them all: each says
// what it does with them.
type Limits struct {
	// Timeout is the longest that one request may take.
	Timeout Duration `json:"timeout,omitzero"`
	// Memory is the memory of one instance, in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Instances is how many requests are handled at the same time.
	Instances int `json:"instances,omitempty"`
}

// Duration is a time.Duration that JSON has as a string, such as "1.5s".
type Duration time.Duration
