// Package echo defines the service of the plugins in the benchmark. It responds with the request.
package echo
