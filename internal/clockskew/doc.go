// Package clockskew estimates the difference between a peer's clock and the local clock, using the
// timestamps in the peer's frames.
//
// A request contains the time at which it was sent and the time at which it expires, both according
// to the client's clock. A server whose clock differs would reject requests that have only just
// been sent, or run requests whose clients have already given up. The server can observe only the
// delay of a frame: the arrival time on its own clock minus the send time on the client's clock.
// This delay is the sum of the clock difference and the transit time.
//
// As in NTP, an [Offset] applies a minimum filter to the one-way delay. The transit time is never
// negative and is short for most frames. The minimum of the recent delays is therefore close to the
// clock difference. Frames with a much larger delay were held up in transit. Callers must not pass
// the delay of such a frame to [Offset.Observe]. If no other frame arrived for some time, that
// delay would be mistaken for the clock difference.
//
// If the client's clock is slow, all of its frames may appear to be late, and no delay would be
// passed to Observe. [Offset.ConfirmSuspect] handles this case. If frames that were sent at
// different times arrive with the same large delay, the client's clock must be wrong. If the bus
// had held the frames up, it would have delivered them together, and their delays would differ.
package clockskew
