package plugin

import "fmt"

// EventKind is the kind of an [Event].
type EventKind uint8

const (
	// Loaded means that a plugin is served that was not served before.
	Loaded EventKind = iota + 1
	// Replaced means that a new version of a plugin is served in place of the previous one.
	Replaced
	// Unloaded means that a plugin is no longer served, and that none of its code is running.
	Unloaded
	// Failed means that a version could not be loaded. The previous version, if there is one,
	// keeps serving.
	Failed
	// Degraded means that the code of a plugin has stopped serving for now.
	Degraded
	// Recovered means that the code of a degraded plugin serves again.
	Recovered
)

// String returns the kind's name in lower case.
func (k EventKind) String() string {
	names := [...]string{"", "loaded", "replaced", "unloaded", "failed", "degraded", "recovered"}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("EventKind(%d)", uint8(k))
	}
	return names[k]
}

// Event reports a change of a plugin to an operator.
type Event struct {
	Kind EventKind
	// Plugin and Version are the name and the version from the manifest. Version is empty if the
	// manifest could not be read; Plugin is then the name of the plugin that is served from the
	// folder, or empty.
	Plugin, Version string
	// Folder is the path of the plugin's folder.
	Folder string
	// Err is the reason of Failed and Degraded. It does not repeat Plugin, Version and Folder.
	Err error
}

// String describes the event for people, such as "loaded greeter 1.2 in /plugins/greeter". The
// text has one line unless that of Err has more.
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
