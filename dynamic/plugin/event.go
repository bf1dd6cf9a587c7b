package plugin

import "fmt"

// EventKind says what an [Event] is about.
type EventKind uint8

const (
	// Loaded says that a plugin is served that was not there before.
	Loaded EventKind = iota + 1
	// Replaced says that another version of a plugin is served, in place of the one before it.
	Replaced
	// Unloaded says that a plugin is served no more, and that nothing of it is running.
	Unloaded
	// Failed says that a version could not be loaded, and why. The one before it, if there is one, goes on.
	Failed
	// Degraded says that the code of a plugin does not serve for the time being, and why.
	Degraded
	// Recovered says that code that had faltered serves again.
	Recovered
)

// String returns the kind's name.
func (k EventKind) String() string {
	names := [...]string{"", "loaded", "replaced", "unloaded", "failed", "degraded", "recovered"}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("EventKind(%d)", uint8(k))
	}
	return names[k]
}

// Event is something that happened to a plugin and that an operator wants to know.
type Event struct {
	Kind EventKind
	// Plugin and Version are of the version that it happened to; both are empty if its manifest could not be read.
	Plugin, Version string
	// Folder is the path of the plugin's folder.
	Folder string
	// Err is the reason, for Failed and Faltered.
	Err error
}

// String returns the event on one line, if its error is one, for people to read.
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
