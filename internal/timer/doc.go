// Package timer contains a pool of reusable timers and a timer that tolerates pauses of the
// process.
//
// A call that waits for several servers needs one or two timers and usually stops them before they
// fire. Reusing them, with a [Pool], avoids allocations. A [Countdown], or [WithTimeout], limits
// how long a process waits for another one. They do not mistake a pause of this process for silence
// of the other one.
package timer
