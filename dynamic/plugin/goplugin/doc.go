// Package goplugin runs plugins that are shared objects of the Go toolchain, see the standard package plugin. Their
// loader is called "go".
//
// Loading one is trusting it with the whole process. Its handlers are as fast as those of the host, and what it crashes
// is the host: a panic of a handler is one failed call, but one of a goroutine of its own ends the process. It is never
// unloaded: when it was replaced, its memory stays, and so do goroutines that it has started. For code that is to be
// replaced often, take package process or package wasm.
//
// # Writing one
//
// It is a package main with a function Services:
//
//	func Services() ([]plugin.Service, error) {
//		return []plugin.Service{{
//			Descriptor: api.File_greeter_proto.Services().ByName("Greeter"),
//			Handlers:   dynamic.Handlers{"Hello": dynamic.Unary(hello)},
//		}}, nil
//	}
//
// The manifest needs no descriptors, since the code brings its own; if it has some, they must agree. Limits, arguments
// and an environment cannot be given, and are an error.
//
// # Building one
//
// The host and all its plugins must be built with the same Go version, the same flags, such as -trimpath, -race and
// -tags, and the same versions of the modules that both use. The loader compares these before it loads anything, and
// its error lists every difference. Two versions of a plugin can be loaded into one process only if they have different
// plugin paths: name the files of the package, not the package, then the path is made of their content and that of what
// they import.
//
//	go build -trimpath -buildmode=plugin -o greeter.so ./greeter/*.go
//
// The host must be built with CGO_ENABLED=1, for Linux, macOS or FreeBSD.
//
// Content that has been loaded once is not loaded anew when it comes back: its Services is called again, in the same
// package with the same variables. What could not be loaded once cannot be in the life of the process.
package goplugin
