// Package schema finds the schema of a service. It looks in the files that the user has named, then
// asks the servers of the service. Last, it looks in a cache on disk of schemas that servers have
// told earlier.
package schema
