// Package allkinds provides a service for testing interceptors, with one method of each kind. The
// service's message type is generated code. It has protovalidate rules, which are enforced only by
// the validation interceptor.
package allkinds

//go:generate go run ./generate
