package process

// family is the process of a plugin with all its descendants. The descendants end with the process.
type family struct {
	// mark is an environment variable that the descendants inherit.
	mark string
	// guardian ends the family if the host is killed.
	guardian *guardian
}
