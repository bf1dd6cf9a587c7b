// Package busurl contains the functions with which package bus and its drivers parse bus URLs. The
// functions keep passwords and other secrets out of error messages.
package busurl
