//go:build !race

package testenv

// raceSuffix is empty, because the running program was built without the race detector.
const raceSuffix = ""
