// Package testservice runs a service with one method of each kind on an in-process bus. It is
// intended for tests and examples of interceptors.
package testservice
