// Package kinds provides the service kinds.All, which has a method of every kind, with a server and
// a conn in process. Its message type is generated code and has protovalidate rules. The rules are
// enforced only by the validation interceptor.
//
// Unlike package testkit, this package does not import a broker. The suite in tests/e2e, which users
// run on their own bus, can therefore use it.
package kinds

//go:generate go run ./generate
