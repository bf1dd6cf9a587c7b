//go:build race

package testenv

// raceSuffix marks programs that were built with the race detector, as the running one was.
const raceSuffix = "-race"
