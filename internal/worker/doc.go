// Package worker runs jobs, each at once and on a goroutine of its own, as a go statement does, and uses the
// goroutines again: their stacks have grown already, which is a good part of the cost of a short job.
package worker
