// Package timer reuses timers. A call that waits for several servers needs a timer or two and stops
// most of them before they fire; a pool saves their allocation.
package timer
