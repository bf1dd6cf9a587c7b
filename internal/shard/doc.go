// Package shard helps to split data that all processors write to, such as a table or a counter,
// into shards. Each processor then mostly writes to its own shard. When two processors take turns
// writing to the same cache line, each write takes up to 200 ns. Without shards, an in-process
// call, which takes only a few microseconds, would make several such writes.
package shard
