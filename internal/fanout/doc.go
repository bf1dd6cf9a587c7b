// Package fanout delivers the frames of a channel to its subscribers in this process. A frame is
// delivered to every broadcast subscriber and to one queue subscriber, which is chosen round-robin.
package fanout
