package dynamictest

import (
	"testing"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// BindFake fills a struct with clients whose calls are answered by the given handlers. Use it to
// test a program that calls a service. clients is a pointer to the struct that the program fills
// with [dynamic.Bind]. The struct may have fields for only some of the methods. service, handlers
// and opts are as for [New].
//
// Use the fixture that BindFake returns to register topics and to publish updates. To fake only
// single calls, it is simpler to set the fields of type [dynamic.UnaryFunc] to functions of the
// test.
func BindFake(tb testing.TB, service any, clients any, handlers dynamic.Handlers, opts ...Option) *Fixture {
	tb.Helper()
	f := New(tb, service, handlers, opts...)
	name := string(f.Registration.Service().Name())
	f.require(dynamic.Bind(f.Conn, name, clients, dynamic.AllowMissingFields()))
	return f
}
