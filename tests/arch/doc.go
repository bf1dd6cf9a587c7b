// Package arch keeps the rules of the module's structure: which package may import which, that every package
// is documented, and what a small program links.
package arch
