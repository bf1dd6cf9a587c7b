// Package fanout gives the frames of one channel to its subscribers in this process: to each plain member, and to
// one member of the queue in turn.
package fanout
