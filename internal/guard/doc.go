// Package guard converts panics in code outside this module, such as plugins and event handlers,
// into errors.
package guard
