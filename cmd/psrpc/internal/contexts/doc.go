// Package contexts stores named settings of the command line, such as the URL of a bus, in a file
// that only its owner can read. A value may refer to a secret that is kept elsewhere. ${NAME}
// stands for an environment variable, file:PATH for the content of a file, and cmd:COMMAND for the
// output of a command.
package contexts
