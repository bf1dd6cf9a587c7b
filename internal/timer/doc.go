// Package timer contains a pool of reusable timers. A call that waits for several servers needs one
// or two timers and usually stops them before they fire. Reusing them avoids allocations.
package timer
