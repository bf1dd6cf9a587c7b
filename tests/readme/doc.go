// Package readme compiles and runs the code and the commands of README.md.
package readme
