// Package allkinds has a service with a method of every kind, for tests of what goes around calls. Its message is generated,
// and has rules for protovalidate, of which only that knows.
package allkinds

//go:generate go run ./generate
