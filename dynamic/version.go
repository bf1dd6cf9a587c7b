package dynamic

// Version is the version of this module, without a leading v, in the form of semantic versioning.
// Between two releases, it is the next version followed by "-unreleased". The version of the wire
// protocol is independent of it.
const Version = "0.1.0-unreleased"
