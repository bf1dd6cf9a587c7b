// Package childproto has what the host of a plugin that is a process, and that process, agree upon: the names of
// environment variables, and the line with which the process says that it is ready.
package childproto
