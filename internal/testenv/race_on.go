//go:build race

package testenv

// raceSuffix marks programs that were built with the race detector, like this one.
const raceSuffix = "-race"
