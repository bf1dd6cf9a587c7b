// Package goplugin runs plugins that are shared objects of the Go toolchain, see the standard
// package plugin. The loader's name is "go".
//
// A Go plugin must be trusted with the whole process. Its handlers are as fast as those of the
// host. A panic of a handler fails one call, but a panic of a goroutine that the plugin has started
// ends the host. A plugin is never unloaded from memory: after it was replaced, its memory and its
// goroutines remain. Use package process or package wasm for code that is replaced often.
//
// # Writing a plugin
//
// A plugin is a package main with a function Services:
//
//	func Services() ([]plugin.Service, error) {
//		return []plugin.Service{{
//			Descriptor: api.File_greeter_proto.Services().ByName("Greeter"),
//			Handlers:   dynamic.Handlers{"Hello": dynamic.Unary(hello)},
//		}}, nil
//	}
//
// The manifest needs no descriptors, because the code has its own. If the manifest names
// descriptors, they must match those of the code. Limits, arguments and environment variables in
// the manifest are errors.
//
// # Building a plugin
//
// Build the host and all its plugins with the same Go version, the same flags, such as -trimpath,
// -race and -tags, and the same versions of all modules that they share. The loader compares these
// before it loads a plugin, and its error lists every difference.
//
// Two versions of a plugin can be loaded into one process only if they have different plugin paths.
// Pass the files of the package to go build instead of the package; Go then derives the plugin path
// from the content of the files and of their imports:
//
//	go build -trimpath -buildmode=plugin -o greeter.so ./greeter/*.go
//
// The host must be built with CGO_ENABLED=1, for Linux, macOS or FreeBSD.
//
// # Loading content again
//
// Content that was loaded before is not loaded again when it comes back: the loader calls Services
// again, and package variables keep their values. Content that failed to load fails again until the
// host is restarted.
package goplugin
