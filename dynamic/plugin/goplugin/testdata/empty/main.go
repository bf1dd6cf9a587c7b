// Package main is a plugin that does not export anything.
package main

func main() {}
