// Package childproto is the protocol between a host and a plugin that is a process: the names of
// environment variables, and the line that the process writes when it is ready. Package
// dynamic/plugin/process documents the protocol.
package childproto
