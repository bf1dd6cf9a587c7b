// Plugins measures a call into each kind of plugin beside a native handler, in one run, and prints a table. Run it in the
// folder tests/bench, with the name of its package: the plugins are built like it.
//
//	go run ./plugins
package main
