// Package schema finds the schema of a service: in the files that the user has named, else at the
// servers of the service, else in a cache on disk of what servers have told earlier.
package schema
