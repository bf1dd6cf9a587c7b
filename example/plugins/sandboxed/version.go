package main

// version is the version of the plugin, which is included in each answer. Command plugins builds
// the second version with a different value.
const version = "1"
