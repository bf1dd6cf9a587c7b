package process

// family is the process of a plugin, together with all its descendants. The host kills the
// descendants when the process ends, if the operating system makes this possible.
type family struct {
	// mark is an environment variable that the descendants inherit, in the form name=value.
	mark string
	// guardian kills the family if the host is killed.
	guardian *guardian
}
