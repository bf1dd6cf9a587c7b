// Package clitest runs the command line in the process of a test and compares what it prints with
// golden files.
package clitest
