// Package similar finds the name that a user has probably misspelled.
package similar
