// Package defects holds a test for each known defect of comparable systems, some of which were
// reported by users of psrpc. The name of each test contains the number of the defect in this list.
// Tests run on every kind of bus that could have the defect.
//
//	 1  identical updates or calls to a queue within seconds are deduplicated
//	 2  members of one queue that serve different methods lose each other's frames (NATS)
//	 3  a subscriber that does not read blocks other subscribers, callers or the publisher
//	 4  a duplicate response blocks the client
//	 5  responses of several servers to a call to one server block the client
//	 6  more claims than expected block the client
//	 7  unread responses block other calls of the client
//	 8  a call right after the registration of a method finds no server
//	 9  an update right after the subscription is lost
//	10  a panic in user code ends the process, or its stack reaches the caller
//	11  a frame with a message of the wrong type ends the process
//	12  the caller does not receive the error for a request that cannot be decoded
//	13  a call without a server fails only at its timeout, or never
//	14  a multi call continues after all servers have responded
//	15  while the broker is down, calls wait and publications are lost silently; recovery is slow
//	16  closed subscriptions and buses leak goroutines
//	17  closing a client while responses arrive ends the process
//	18  a call continues after its client is closed
//	19  a response that is too large is dropped, and the caller waits for its timeout
//	20  stream messages are dropped when the receiver is slower than the sender
//	21  a stream does not end when the remote process dies
//	22  a server in shutdown uses a CPU while waiting, or accepts requests and drops them
//	23  a request replaced by an interceptor is ignored: tested in package dynamic
//	24  locks of queue frames remain in Redis
//	25  a flood of responses to a client that is being closed blocks the bus of the process
//	26  Subscribe, or closing a subscription, waits for another subscription that does not read
package defects
