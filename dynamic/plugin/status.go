package plugin

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// State is the state of a plugin.
type State string

const (
	// StateLoading means that the first version of the plugin is being loaded.
	StateLoading State = "loading"
	// StateServing means that the plugin is served.
	StateServing State = "serving"
	// StateDegraded means that the plugin's code has stopped serving for now.
	StateDegraded State = "degraded"
	// StateDraining means that the plugin is being unloaded: it receives no more requests and
	// finishes those that it has.
	StateDraining State = "draining"
	// StateFailed means that no version of the plugin could be loaded, or that a folder could not
	// be read.
	StateFailed State = "failed"
)

// Status describes a plugin, or a folder that could not be read.
type Status struct {
	// Name is the plugin's name. It is empty for a folder whose manifest could not be read.
	Name string
	// Version, Loader, Folder and Digest describe the version that is served, or else the one that
	// could not be loaded. Digest is the SHA-256 of the code, in hex.
	Version, Loader, Folder, Digest string
	// Services contains the full names of the services, sorted.
	Services []string
	State    State
	// Since is the time of the last change of State, or of the last replacement.
	Since time.Time
	// Generation counts the versions that were served: 0 before the first, 2 after one replacement.
	Generation int
	// Handled is the number of requests and streams that all versions have handled since the
	// plugin was loaded; Failed is the number of those that ended with an error. Requests that
	// neither the host nor the code counts, such as those of a process, are not included.
	Handled, Failed uint64
	// Err is the reason why the plugin is degraded, or why the newest content of its folder could
	// not be loaded. It is nil after the plugin has recovered, or after the next successful load.
	Err error
}

// List returns the status of all plugins, and of the folders that could not be read, sorted by name
// and folder.
func (h *Host) List() []Status {
	h.mu.Lock()
	list := slices.Collect(maps.Values(h.unreadable))
	counters := map[string][]CallCounter{} // by plugin name
	for name, p := range h.plugins {
		status := p.status
		status.Handled, status.Failed = p.handled, p.failed
		status.Services = slices.Clone(status.Services)
		list = append(list, status)
		for v := range h.live {
			if v.plugin == p && v.callCounter != nil {
				counters[name] = append(counters[name], v.callCounter)
			}
		}
	}
	h.mu.Unlock()
	for i := range list {
		for _, c := range counters[list[i].Name] { // without the lock: Counts may be the plugin's code
			handled, failed := c.Counts()
			list[i].Handled += handled
			list[i].Failed += failed
		}
	}
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Folder, b.Folder))
	})
	return list
}
