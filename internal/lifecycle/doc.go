// Package lifecycle has the small pieces with which the goroutines of this module are run and ended: a [Gate]
// counts those who are inside, keeps newcomers out once it is closed, and says when the last one has left;
// [Workers] run short jobs on goroutines that they use again, and can be waited for.
package lifecycle
