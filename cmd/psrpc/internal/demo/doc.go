// Package demo serves an example service, so that the command line can be tried without a service of
// one's own.
package demo
