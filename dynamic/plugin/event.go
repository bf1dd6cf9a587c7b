package plugin

import "fmt"

// EventKind describes what an [Event] reports.
type EventKind uint8

const (
	// Loaded means that the host has started to serve a plugin.
	Loaded EventKind = iota + 1
	// Replaced means that the host serves a new version of a plugin instead of the previous one.
	Replaced
	// Unloaded means that a plugin is no longer served and that none of its code is running.
	Unloaded
	// Failed means that a version could not be loaded. If there is a previous version, it keeps
	// serving.
	Failed
	// Degraded means that the code of a plugin has temporarily stopped serving.
	Degraded
	// Recovered means that the code of a degraded plugin is serving again.
	Recovered
)

// String returns the name of the kind in lower case, such as "loaded".
func (k EventKind) String() string {
	names := [...]string{"", "loaded", "replaced", "unloaded", "failed", "degraded", "recovered"}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("EventKind(%d)", uint8(k))
	}
	return names[k]
}

// Event describes a change to a plugin.
type Event struct {
	Kind EventKind
	// Plugin and Version are the name and version from the manifest. If the folder could not be
	// read, Version is empty. Plugin is then the name of the plugin that was loaded from that
	// folder earlier, or empty if there was none.
	Plugin, Version string
	// Folder is the path of the plugin's folder.
	Folder string
	// Err is the reason for a Failed or Degraded event, and nil for other events. Its text does not
	// repeat Plugin, Version or Folder.
	Err error
}

// String describes the event in readable form, such as "loaded greeter 1.2 in /plugins/greeter".
// The text is a single line unless the text of Err has several lines.
func (e Event) String() string {
	text := e.Kind.String()
	if e.Plugin != "" {
		text += " " + e.Plugin
	}
	if e.Version != "" {
		text += " " + e.Version
	}
	if e.Folder != "" {
		text += " in " + e.Folder
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}
