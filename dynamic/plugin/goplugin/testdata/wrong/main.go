// Package main is a plugin whose function has the wrong type.
package main

// does is set by the linker.
var does = ""

func init() {
	if does == "panic" {
		panic("out of order")
	}
}

// Services returns too little.
func Services() error { return nil }

func main() {}
