// Package lifecycle contains the building blocks that start, count and stop the work of this
// module:
//
//   - [Gate] counts the operations in flight in one counter. Once it is closed it admits no more of
//     them, and it reports when the last one has ended.
//   - [InFlight] does the same for code that many processors run at once: it splits its counter into
//     shards the first time two goroutines contend for it.
//   - [WorkerPool] runs short tasks on goroutines that it reuses.
//   - [EventQueue] passes values to a function without blocking the sender.
//
// A Gate is smaller and always counts in one cache line: it suits operations that few goroutines
// run at a time, such as those of one stream or one subscription. An InFlight suits what concurrent
// requests have in common, such as the endpoint that serves a method. It starts with one counter
// too, because most counters never see contention and 16 padded counters take one kilobyte.
package lifecycle
