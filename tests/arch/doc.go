// Package arch tests the structure of the module: which packages may import each other, that every
// package has a package comment, and which packages a small program links.
package arch
