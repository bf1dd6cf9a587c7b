// Package schema finds the schema of a service. It looks in the files that the user has named, then
// at the servers of the service, and last in a cache on disk of schemas that servers have told
// earlier.
package schema
