// Package shard helps to split data that all processors write to, such as a table or a counter,
// into shards. Each processor then mostly writes to its own shard. When two processors take turns
// writing to the same cache line, each write takes up to 200 ns. The rest of an in-process call
// takes less time than that.
package shard
