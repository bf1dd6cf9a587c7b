// Package busurl contains functions that several packages use to parse bus URLs. They keep
// passwords and other secrets out of error messages.
package busurl
