// Package allkinds provides a service with a method of every kind, for tests of interceptors. Its
// message type is generated and has protovalidate rules, which only the validation interceptor
// reads.
package allkinds

//go:generate go run ./generate
