// Package main is a plugin that exports nothing.
package main

func main() {}
