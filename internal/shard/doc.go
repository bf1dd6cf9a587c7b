// Package shard divides what all processors write to, a table or a counter, into parts, so that each processor writes to
// one of its own. A line of memory that two processors write in turn costs more than everything else in a call, the
// more so the farther they are apart.
package shard
