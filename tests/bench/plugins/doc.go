// Plugins measures calls to each kind of plugin and to a native handler in one run, and prints a
// table. Run it from the directory tests/bench, and pass go run the package path rather than a list
// of files: Go plugins must be built with the same flags as the program that loads them.
//
//	go run ./plugins
package main
