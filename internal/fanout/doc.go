// Package fanout delivers the frames of one channel to its subscribers in this process: to each
// broadcast subscriber, and to one queue subscriber, chosen round-robin.
package fanout
