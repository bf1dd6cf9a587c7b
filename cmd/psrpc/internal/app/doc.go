// Package app contains what all verbs of the command line share. A verb is a subcommand, such as
// call or list. The package opens the bus and the conn, finds the schema of a method, and formats
// the output. It also defines the common flags, the settings and the exit codes. The settings
// follow from flags, the environment and the context.
package app
