// Package main is a plugin whose Services function has the wrong type.
package main

// The linker sets this variable. If its value is "panic", the init function panics.
var does = ""

func init() {
	if does == "panic" {
		panic("no license")
	}
}

// Services does not have the type that the loader requires.
func Services() error { return nil }

func main() {}
