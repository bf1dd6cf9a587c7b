// Package similar suggests a known name for a name that a user has misspelled.
package similar
