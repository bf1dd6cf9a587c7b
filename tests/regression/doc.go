// Package regression contains a test for each known defect of comparable systems. Some of the defects
// were reported by users of psrpc. The name of each test contains the number of the defect in the
// list below. Each test runs on every kind of bus that could have the defect.
//
//	 1  identical updates or calls sent to a queue within a few seconds are deduplicated
//	 2  members of one queue that serve different methods lose each other's frames (NATS)
//	 3  a subscriber that does not read updates blocks other subscribers, callers or the publisher
//	 4  a duplicate response blocks the client
//	 5  responses from several servers to a call that expects one response block the client
//	 6  more claims than expected block the client
//	 7  unread responses block the client's other calls
//	 8  a call made right after its method was registered finds no server
//	 9  an update published right after a client has subscribed is lost
//	10  a panic in user code crashes the process, or its stack trace is sent to the caller
//	11  a frame that contains a message of the wrong type crashes the process
//	12  the caller does not receive an error if its request cannot be decoded
//	13  a call that no server can answer fails only after its timeout, or never
//	14  a multi call keeps waiting after all servers have responded
//	15  while the broker is down, calls hang and updates are lost silently; recovery is slow
//	16  closing a subscription or a bus leaks goroutines
//	17  closing a client while responses arrive crashes the process
//	18  a call keeps waiting after its client has been closed
//	19  a response that is too large is dropped, and the caller waits until its timeout expires
//	20  stream messages are dropped when the receiver is slower than the sender
//	21  a stream does not end when the remote process dies
//	22  a server that is shutting down busy-waits, or accepts requests and drops them
//	23  a request replaced by an interceptor is ignored (tested in package dynamic)
//	24  locks for frames sent to a queue are never removed from Redis
//	25  a flood of responses to a client that is being closed blocks the bus for the whole process
//	26  subscribing or closing a subscription blocks while another subscription is not being read
package regression
