// Package lifecycle has the small pieces with which things of this module are closed: a [Gate] counts
// those who are inside, keeps newcomers out once it is closed, and says when the last one has left.
package lifecycle
