package process

// family is the process of a plugin, together with all its descendants. The host kills the
// descendants when the process ends, as far as the operating system allows it.
type family struct {
	// mark is an environment variable that the descendants inherit, in the form name=value.
	mark string
	// guardian kills the family if the host is killed.
	guardian *guardian
}
