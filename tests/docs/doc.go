// Package docs compiles and runs the code and the commands shown in README.md, docs/compiled.md
// and docs/testing.md.
package docs
