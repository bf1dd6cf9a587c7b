// Package app contains what all verbs of the command line share: the common flags, the settings,
// the bus and the conn, the schema of a method, the formats of the output, and the exit codes. The
// settings follow from flags, the environment and the context. A verb is a subcommand, such as call
// or list.
package app
