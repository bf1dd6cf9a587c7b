// Package goplugin runs plugins that are shared objects built by the Go toolchain; see the plugin
// package of the standard library. The name of the loader is "go".
//
// A Go plugin must be trusted with the whole process. Its handlers are as fast as handlers compiled
// into the host. If a handler panics, only that call fails, but a panic in a goroutine started by
// the plugin terminates the host. A Go plugin is never unloaded from memory: after it has been
// replaced, its memory remains in use and its goroutines keep running. For code that is replaced
// often, use package process or package wasm instead.
//
// # Writing a plugin
//
// A plugin is a main package with a function named Services:
//
//	func Services() ([]plugin.Service, error) {
//		return []plugin.Service{{
//			Descriptor: api.File_greeter_proto.Services().ByName("Greeter"),
//			Handlers:   dynamic.Handlers{"Hello": dynamic.Unary(hello)},
//		}}, nil
//	}
//
// The manifest does not need to list descriptors, because the code contains them. If the manifest
// does list descriptors, they must match those in the code. The manifest must not set limits,
// arguments or environment variables; otherwise the plugin cannot be loaded.
//
// # Building a plugin
//
// Build the host and all its plugins with the same Go version and the same flags, such as
// -trimpath, -race and -tags. They must also use the same versions of all modules that they share.
// The loader compares the versions and flags before it loads a plugin. If any of them differ, the
// loader returns an error that lists every difference.
//
// Every Go plugin has an internal name, the plugin path. Two versions of a plugin can be loaded
// into one process only if their plugin paths differ. To make sure of this, pass the package's
// files to go build instead of the package. Go then derives the plugin path from the content of the
// files and of their imports:
//
//	go build -trimpath -buildmode=plugin -o greeter.so ./greeter/*.go
//
// The host must be built with CGO_ENABLED=1 for Linux, macOS or FreeBSD.
//
// # Loading the same content again
//
// A shared object is loaded into the process only once. If the same content is loaded again later,
// the loader calls Services again, and package variables keep their values. If the shared object
// could not be loaded, the loader does not try again until the host is restarted.
package goplugin
