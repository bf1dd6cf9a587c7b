// Package readme compiles and runs the code and the commands shown in README.md.
package readme
