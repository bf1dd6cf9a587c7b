// Plugins measures calls to each kind of plugin and to a native handler in one run, and prints a
// table. Run it in the folder tests/bench by the name of its package, because Go plugins must be
// built with the same flags as their host:
//
//	go run ./plugins
package main
