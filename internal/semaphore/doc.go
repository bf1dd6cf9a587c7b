// Package semaphore contains a counting semaphore that never blocks. It limits how many requests a
// server or method handles at a time: requests over the limit are rejected instead of queued.
package semaphore
