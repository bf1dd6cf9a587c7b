// Plugins measures calls to each kind of plugin and to a native handler in one run, and prints a
// table. Run it from the directory tests/bench and pass the package path, not a list of files, to
// go run. Otherwise the Go plugins and the program that loads them would be built with different
// flags, and loading them would fail.
//
//	go run ./plugins
package main
