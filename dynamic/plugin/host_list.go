package plugin

import (
	"cmp"
	"maps"
	"slices"
)

// List returns the status of every plugin and of every folder that could not be read. The result is
// sorted by name and then by folder.
func (h *Host) List() []Status {
	h.mu.Lock()
	list := slices.Collect(maps.Values(h.unreadable))
	counters := map[string][]CallCounter{} // the keys are plugin names
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
		// h.mu must not be held here, because Counts may run the code of a plugin.
		for _, c := range counters[list[i].Name] {
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
