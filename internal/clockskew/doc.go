// Package clockskew estimates how much the clock of a peer differs from the local clock, from the
// times that the peer writes into its frames.
//
// A request carries the time of its sending and its expiry, both by the clock of the client. A
// server whose clock differs would reject requests that have just been sent, or run requests whose
// client has given up. The server only sees the delay of a frame: its arrival by the server's clock
// minus its sending by the client's. This is the sum of the difference of the clocks and the time
// in transit.
//
// As in NTP, an [Offset] therefore keeps a minimum filter of the one-way delay: transit takes no
// negative time and most frames take little, so the minimum of the recent delays is close to the
// difference of the clocks, and frames that exceed it were held up on their way. Only frames that
// are known to be fresh may be observed: a late frame that is the only one of its time would pass
// for the difference of the clocks.
//
// The filter cannot start if all frames of a client seem late. [Offset.ConfirmSuspect] handles this
// case: frames that were sent at different times and arrive with the same large delay prove that
// the clock is off, because a bus that holds up frames delivers them together, with different
// delays.
package clockskew
