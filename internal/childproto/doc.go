// Package childproto defines the protocol between a host and a plugin process: the names of the
// environment variables, and the line that the process writes when it is ready. The protocol is
// documented in package dynamic/plugin/process.
package childproto
