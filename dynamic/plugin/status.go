package plugin

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// State is what a plugin is doing.
type State string

const (
	// StateLoading is that of a plugin whose first version is being loaded.
	StateLoading State = "loading"
	// StateServing is that of a plugin that is served.
	StateServing State = "serving"
	// StateDegraded is that of a plugin whose code does not serve for the time being.
	StateDegraded State = "degraded"
	// StateDraining is that of a plugin that takes no more requests, and finishes those that it has.
	StateDraining State = "draining"
	// StateFailed is that of a plugin, or of a folder, of which no version could be loaded.
	StateFailed State = "failed"
)

// Status tells how a plugin is doing.
type Status struct {
	// Name is that of the plugin; empty for a folder whose manifest could not be read.
	Name string
	// Version, Loader, Folder and Digest are of the version that is served, or of the one that failed.
	Version, Loader, Folder, Digest string
	// Services are the full names of the services, sorted.
	Services []string
	State    State
	// Since is when the plugin got into this state, or the version began to be served.
	Since time.Time
	// Generation counts the versions that were served: 1 for the first, 2 after it was replaced, 0 for none.
	Generation int
	// Handled is how many requests and streams all versions have handled since the plugin was loaded, and Failed how
	// many of them ended with an error. A version that is counted neither by the host nor by its code, such as a
	// process, has none.
	Handled, Failed uint64
	// Err is the last problem: why it falters, or why the newest content of the folder could not be loaded. It is nil
	// when that has been mended.
	Err error
}

// List returns the plugins, and the folders that could not be read, sorted by name and folder.
func (h *Host) List() []Status {
	h.mu.Lock()
	list := slices.Collect(maps.Values(h.unreadable))
	counted := map[string][]CallCounter{} // by name
	for name, p := range h.plugins {
		status := p.status
		status.Handled, status.Failed = p.handled, p.failed
		status.Services = slices.Clone(status.Services)
		list = append(list, status)
		for v := range h.live {
			if v.plugin == p && v.callCounter != nil {
				counted[name] = append(counted[name], v.callCounter)
			}
		}
	}
	h.mu.Unlock()
	for i := range list {
		for _, c := range counted[list[i].Name] { // asked without the lock, for they may be the plugins' code
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
