// Package recording writes a file with the messages that went through servers, and replays them.
//
// A recording describes itself, because it contains the descriptors of the services. See
// recording.proto for the format of the file. [Writer] and [Load] write and read it. [Replay] sends
// the recorded requests again and compares the responses.
package recording
