package plugin

import "time"

// State is the state of a plugin.
type State string

const (
	// StateLoading means that a version of the plugin is being loaded and no other version is being
	// served.
	StateLoading State = "loading"
	// StateServing means that the plugin is being served.
	StateServing State = "serving"
	// StateDegraded means that the plugin's code has temporarily stopped serving.
	StateDegraded State = "degraded"
	// StateDraining means that the plugin is being unloaded. It gets no new requests, but finishes
	// the requests that it has already received.
	StateDraining State = "draining"
	// StateFailed means that no version of the plugin could be loaded, or that a folder could not
	// be read.
	StateFailed State = "failed"
)

// Status describes a plugin, or a folder that could not be read.
type Status struct {
	// Name is the name of the plugin. It is empty for a folder that could not be read.
	Name string
	// Version, Loader, Folder and Digest describe the version that is being served. If no version
	// is being served, they describe the version that is being loaded or could not be loaded.
	// Digest is the SHA-256 checksum of the code, in hex.
	Version, Loader, Folder, Digest string
	// Services contains the sorted full names of the services that are being served.
	Services []string
	State    State
	// Since is the time when State last changed or the plugin was last replaced.
	Since time.Time
	// Generation is the number of versions that have been served so far. It is 0 before the first
	// version is served, and 2 after the first replacement.
	Generation int
	// Handled is the number of requests and streams that all versions have handled since the plugin
	// was loaded. Failed is the number of requests and streams that failed. Requests to a plugin
	// process are not included, because they do not pass through the host.
	Handled, Failed uint64
	// Err is the reason why the plugin is degraded, or why the newest content of its folder could
	// not be loaded. It becomes nil when the plugin recovers or the next load succeeds.
	Err error
}
