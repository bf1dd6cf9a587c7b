// Package schema finds the schema of a service. It looks in the files that the user has named, then
// asks the servers of the service. Finally, it looks in a cache on disk, which contains schemas
// that servers sent in earlier runs.
package schema
