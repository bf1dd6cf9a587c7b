// Package semaphore contains a counting semaphore that never blocks: it limits how many requests a
// server or a method handles at a time, and requests over the limit are rejected instead of queued.
package semaphore
