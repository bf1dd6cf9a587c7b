// Package echo defines the service that the benchmark's plugins provide. The service returns each
// request as its response.
package echo
