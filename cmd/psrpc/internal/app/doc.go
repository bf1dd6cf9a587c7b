// Package app contains what all verbs of the command line share. This includes the common flags,
// the settings, the bus and the conn, the schema of a method, the formats of the output, and the
// exit codes. The settings follow from flags, the environment and the context.
package app
