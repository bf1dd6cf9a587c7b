// Package arch tests the structure of the module. It checks which packages may import each other,
// that the files of large packages stand in layers, that every package has a package comment, and
// which packages are linked into a small program.
package arch
