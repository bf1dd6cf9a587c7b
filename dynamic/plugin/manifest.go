package plugin

import "time"

// ManifestName is the file name of the manifest in a plugin's folder.
const ManifestName = "plugin.json"

// Manifest is the content of plugin.json, which describes a plugin. All file names are relative to
// the plugin's folder, use forward slashes, and must not refer to files outside the folder.
type Manifest struct {
	// Name identifies the plugin within its host. If Name is empty, the name of the folder is used.
	Name string `json:"name"`
	// Version is the plugin's version. It is only for display: the host does not compare versions,
	// but loads any content that differs from the content being served.
	Version string `json:"version"`
	// Loader is the name of the [Loader] that runs the code.
	Loader string `json:"loader"`
	// Code is the name of the file that contains the plugin's code.
	Code string `json:"code"`
	// SHA256 is the SHA-256 checksum of the code, in hex. If it is set, code with a different
	// checksum is rejected.
	SHA256 string `json:"sha256,omitempty"`
	// Descriptors is the name of the file that contains the descriptors of the services. The file
	// is either a .proto source, which may import other sources in the folder, or a
	// FileDescriptorSet as written by protoc -o or buf build.
	Descriptors string `json:"descriptors,omitempty"`
	// Services lists the full names of the services that the code serves. If it is empty, the code
	// must serve all services of the descriptors.
	Services []string `json:"services,omitempty"`
	// WireNames maps full service names to names on the bus. A service needs an entry only if its
	// name on the bus differs from psrpc's default.
	WireNames map[string]string `json:"wire_names,omitempty"`
	// Limits restricts the resources that the code may use.
	Limits Limits `json:"limits"`
	// Args contains command-line arguments. They are used only if the code is run as a process.
	Args []string `json:"args,omitempty"`
	// Env contains additional environment variables in the form name=value. They are used only if
	// the code is run as a process.
	Env []string `json:"env,omitempty"`
}

// Limits restricts the resources that a plugin's code may use. If a field is zero, the loader's
// default applies. A loader that cannot enforce limits returns an error if any limit is set; see
// the documentation of each loader.
type Limits struct {
	// Timeout is the maximum duration of one request.
	Timeout Duration `json:"timeout,omitzero"`
	// Memory is the maximum memory of an instance, in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Instances is the maximum number of requests that are handled concurrently.
	Instances int `json:"instances,omitempty"`
}

// Duration is a time.Duration that is encoded in JSON as a string such as "1.5s".
type Duration time.Duration

// String formats d like [time.Duration.String].
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts the format of
// [time.ParseDuration].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return invalid("%q is not a duration such as 1.5s", text)
	}
	*d = Duration(parsed)
	return nil
}
