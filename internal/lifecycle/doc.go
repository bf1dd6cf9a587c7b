// Package lifecycle starts, counts and stops the concurrent work of this module:
//
//   - [Gate] counts the operations in flight with a single counter. Once closed, it admits no
//     further operations and reports when the last one has ended.
//   - [InFlight] does the same for operations that many CPUs start at the same time. It splits its
//     counter into several counters when two goroutines contend for it for the first time.
//   - [WorkerPool] runs short tasks on reusable goroutines.
//   - [EventQueue] passes values to a function without blocking the sender.
//   - [Wait], [WaitWithGrace] and [WaitAtMost] wait for the end of work for a limited time.
//
// Use a Gate for operations that few goroutines run at a time, such as those of one stream or
// subscription. It is smaller than an InFlight and always uses one cache line. Use an InFlight for
// anything shared by many concurrent requests, such as the endpoint that serves a method. An
// InFlight also starts with a single counter, because most never see contention and sixteen padded
// counters take up one kilobyte.
package lifecycle
