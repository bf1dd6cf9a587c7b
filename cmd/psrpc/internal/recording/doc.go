// Package recording keeps what went through servers in a file, and does it again.
//
// A recording describes itself: it contains the descriptors of the services whose messages it
// contains. See recording.proto for the format of the file. [Writer] and [Load] write and read it.
// [Replay] sends the recorded requests again and compares the responses.
package recording
