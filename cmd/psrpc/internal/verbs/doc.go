// Package verbs contains the verbs of the command line, each in a file of its own. A verb reads its
// flags and arguments, asks the packages that do the work, and prints what they return.
package verbs
