// Package explorer tests the gateway and the explorer in a browser: Debian's chromium, driven
// through its debugging protocol. The servers that the pages show are on real brokers.
//
// The tests find the parts of a page by role and name, as the users of a screen reader do. A test
// fails if a page writes an error to the console, or requests anything from another machine.
//
// The package is a module of its own, so that the main module does not depend on the library that
// drives the browser. Run it with make explorer, which installs chromium. With the flag
// -screenshots, the test TestScreenshots writes the pictures of docs/explorer.md:
//
//	go -C tests/explorer test -run Screenshots -screenshots ../../docs/img
package explorer
