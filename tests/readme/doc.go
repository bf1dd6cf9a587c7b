// Package readme compiles and runs what the README shows.
package readme
