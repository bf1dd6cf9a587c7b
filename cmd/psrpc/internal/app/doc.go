// Package app contains what all verbs of the command line share: the common flags, the settings
// that follow from flags, environment and context, the bus and the conn, the schema of a method,
// the formats of the output, and the exit codes.
package app
