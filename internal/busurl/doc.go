// Package busurl contains what package bus and its drivers share for parsing bus URLs. Its
// functions keep passwords and other secrets out of error messages.
package busurl
