// Package plugin lets a program serve services that it was not compiled with: a [Host] loads them at run time,
// replaces them while they are called, and unloads them.
//
// A plugin is a folder: a manifest, plugin.json, see [Manifest]; the descriptors of its services, as a descriptor
// set or as .proto sources; and its code. What the code is, and how it is run, is the matter of a [Loader], and the host
// has those that it was given:
//
//   - package dynamic/plugin/wasm: WebAssembly, in a sandbox. It gets nothing that it is not given.
//   - package dynamic/plugin/goplugin: a shared object of the Go toolchain. Loading one is trusting it with the whole
//     process, and it is never unloaded.
//   - package dynamic/plugin/process: an executable that serves on the bus by itself. Starting it is trusting it with
//     what the user of the host may do.
//
// A plugin can be put where the host watches, see [Host.Watch], or loaded by its folder's name, see [Host.Load]. Copy a
// folder under another name and rename it, and it is never seen half.
//
// A plugin that is broken never stops its host: the error says why, and the version that was there before goes on.
package plugin
