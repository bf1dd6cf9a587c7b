// Package defects holds a test for each defect that systems of this kind are known for, psrpc's users among those who
// met them. Each test is named by its number here, and runs on every kind of bus where the defect could be.
//
//	 1  equal updates, or calls, to a queue within seconds are taken for one
//	 2  members of one queue that serve different methods lose each other's frames (NATS)
//	 3  a subscriber that does not read holds up the others, the callers or the publisher
//	 4  a response that comes more than once blocks the client that takes it
//	 5  servers that all answer, where one was expected, block the client
//	 6  more claims for a call than somebody thought of block the client
//	 7  responses that nobody reads block the client's other calls
//	 8  a call right after a method was registered finds nobody
//	 9  an update right after the subscription is lost
//	10  a panic in a function of the user's ends the process, or its stack reaches the caller
//	11  a frame with the wrong message in it ends the process
//	12  a request that cannot be decoded is answered, but the caller goes on waiting
//	13  a call that nobody serves fails only by its timeout, or not at all
//	14  a call to all servers goes on after all have answered
//	15  while the broker is away calls wait, publications are lost without a word, and it takes long to recover
//	16  subscriptions and buses that are closed leave goroutines behind
//	17  clients that are closed while responses come end the process
//	18  a call goes on when its client is closed
//	19  a response that is too large is dropped, and the caller waits
//	20  messages of a stream are dropped when its receiver is slower than its sender
//	21  the death of a stream's other side is never noticed
//	22  a server that waits for its last handlers burns a processor, or takes requests that it drops
//	23  an interceptor that replaces a request has no effect: tested where interceptors are, in package dynamic
//	24  locks of a queue's frames stay in Redis
//	25  a flood of responses to a client that is being closed blocks the bus of the process
//	26  to subscribe, or to close a subscription, waits for another one that does not read
package defects
