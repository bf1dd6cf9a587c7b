// Package semaphore contains a counting semaphore that never blocks. It limits the number of
// requests that a server or a method handles at the same time. Further requests are rejected, not
// queued.
package semaphore
