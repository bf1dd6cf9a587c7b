package plugin

import "time"

// ManifestName is the name of the manifest in the folder of a plugin.
const ManifestName = "plugin.json"

// Manifest describes a plugin, in JSON. File names are relative to the plugin's folder, use forward
// slashes, and cannot leave the folder.
type Manifest struct {
	// Name identifies the plugin in its host. The default is the name of the folder.
	Name string `json:"name"`
	// Version is shown to people. The host does not compare versions: any other content replaces
	// what is served.
	Version string `json:"version"`
	// Loader is the name of the [Loader] that runs the code.
	Loader string `json:"loader"`
	// Code is the file with the code.
	Code string `json:"code"`
	// SHA256 is the checksum of the code in hex. If it is set, code with another checksum is not
	// loaded.
	SHA256 string `json:"sha256,omitempty"`
	// Descriptors is a file with the descriptors of the services: a .proto source, which may
	// import other sources of the folder, or a FileDescriptorSet as written by protoc -o and
	// buf build.
	Descriptors string `json:"descriptors,omitempty"`
	// Services contains the full names of the services that the code serves. The default is all
	// services of the descriptors.
	Services []string `json:"services,omitempty"`
	// WireNames maps full names of services to their names on the bus, if these differ from
	// psrpc's default.
	WireNames map[string]string `json:"wire_names,omitempty"`
	// Limits bounds the resources of the code.
	Limits Limits `json:"limits"`
	// Args contains the arguments of code that is a process.
	Args []string `json:"args,omitempty"`
	// Env contains additional environment variables of code that is a process, as name=value.
	Env []string `json:"env,omitempty"`
}

// Limits bounds the resources of a plugin's code. Zero is the loader's default. A loader that
// cannot enforce limits returns an error if they are set; see the documentation of each loader.
type Limits struct {
	// Timeout is the maximum duration of one request.
	Timeout Duration `json:"timeout,omitzero"`
	// Memory is the maximum memory of one instance, in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Instances is the maximum number of requests that are handled concurrently.
	Instances int `json:"instances,omitempty"`
}

// Duration is a time.Duration that is a string in JSON, such as "1.5s".
type Duration time.Duration

// String formats the duration like time.Duration.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts what time.ParseDuration accepts.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return invalid("%q is not a duration such as 1.5s", text)
	}
	*d = Duration(parsed)
	return nil
}
