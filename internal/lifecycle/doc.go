// Package lifecycle has the small pieces with which the goroutines of this module are run and ended: a [Gate]
// counts those who are inside, keeps newcomers out once it is closed, and says when the last one has left; so does a
// [InFlight], which many processors may enter at once without getting into each other's way; [WorkerPool] run short jobs
// on goroutines that they use again, and can be waited for; a [EventQueue] hands values on without making anybody wait.
package lifecycle
