// Package main is a plugin whose function has the wrong type.
package main

// does selects what init does. The linker sets it.
var does = ""

func init() {
	if does == "panic" {
		panic("no license")
	}
}

// Services has the wrong type.
func Services() error { return nil }

func main() {}
