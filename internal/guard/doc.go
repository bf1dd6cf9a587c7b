// Package guard turns panics of code that this module did not write, such as plugins and event
// handlers, into errors.
package guard
