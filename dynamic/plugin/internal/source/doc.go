// Package source reads the folder of a plugin: its manifest, the descriptors of its services and
// its code. The package does not depend on the format of the manifest and does not run the code.
//
// # Use
//
// A [Reader] needs the name of the manifest file and a function that parses a manifest. The
// function returns a [Selection], which names the other files. [Reader.Read] returns a [Content],
// which does not change when the folder changes later. Two contents are the same if their
// fingerprints are equal.
//
// # What is refused
//
// A folder may come from another user or be changed while it is read. A file is read only if it is
// a regular file inside the folder. [os.Root] refuses links that lead out of the folder. Opening a
// FIFO or a device does not block, and each file has a maximum size. All names use forward slashes.
//
// # Errors
//
// Errors name the file and the field of the manifest, but not the folder, because callers report
// the folder in fields of their own. [Code] returns the code of each error.
//
// # Why all files are read at once
//
// The fingerprint must describe exactly the content that is loaded. All files are therefore read
// into memory before the code runs, and never again. The parser of .proto sources reads them
// through this package, too, so imported files are part of the fingerprint.
package source
