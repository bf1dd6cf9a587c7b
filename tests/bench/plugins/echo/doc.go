// Package echo is the service that the plugins of the benchmark serve: it answers with what it gets.
package echo
