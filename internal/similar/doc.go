// Package similar finds the name that a user has probably meant by an unknown name.
package similar
