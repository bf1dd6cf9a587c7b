// Package reports holds the delivery reports of frames that the NATS server has not confirmed yet.
//
// The package only decides which reports are still pending. Its owner publishes the frames, sends
// the PINGs, and passes the outcomes to the reports that the package returns.
//
// # Usage
//
// [Pending.Add] stores a report and returns a token. The owner writes the token into the reply
// subject of the frame. When an answer arrives on that subject, [Pending.Remove] returns the
// report. If no answer arrives, the report is dropped after the frame has been confirmed:
//
//	pending.Rotate()
//	// PING, PONG
//	pending.ConfirmPrevious()
//
// If the connection is lost, [Pending.FailAll] returns all reports, because the outcome of their
// frames is unknown.
//
// # Ordering and concurrency
//
// All methods are safe for concurrent use. They hold a mutex for a few instructions only. The
// package returns reports instead of calling them, so no report is called while the mutex is held.
// Each report is returned at most once.
//
// # Why two generations
//
// If a frame has no receivers, the server says so before it answers the next PING. A PING that is
// sent after a frame therefore confirms the frame. A report is added before its frame is sent, so
// the newest reports may belong to frames that follow the PING. Rotate closes a generation of
// reports, and the next exchange confirms only the generation before it. A timer for each frame
// would do the same, but would cost an allocation and a wake-up for each frame.
//
// # Why a ring
//
// Tokens are consecutive numbers, so a token modulo [Capacity] is the index of its report. Adding
// and removing a report takes no search and no allocation. If more frames are unconfirmed, the
// oldest reports are overwritten. Losing a report only costs time: a call without a server then
// fails at its timeout instead of immediately.
package reports
