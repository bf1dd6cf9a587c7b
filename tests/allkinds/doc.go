// Package allkinds provides a service for testing interceptors, with methods of every kind. The
// service's message type is generated code and has protovalidate rules. The rules are enforced only
// by the validation interceptor.
package allkinds

//go:generate go run ./generate
