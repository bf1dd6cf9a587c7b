// Package testservice runs a service with a method of each kind, for the tests and examples of interceptors.
package testservice
