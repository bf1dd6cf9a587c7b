// Package main is a plugin whose Services function has the wrong type.
package main

// does selects what the init function does. It is set by the linker.
var does = ""

func init() {
	if does == "panic" {
		panic("no license")
	}
}

// Services does not have the type that the loader requires.
func Services() error { return nil }

func main() {}
