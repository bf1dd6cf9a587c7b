// Command bench measures the engine, and in the same run what bounds it: the bare transport with nothing in between.
//
//	go -C tests/bench run . -run 'redis/64B' -rounds 5 -time 1s
//
// Every row is run once in each round, the engine's beside those that it is compared to, so that what else happens on
// the machine hits both. What is printed are medians over the rounds; ratios are medians of each round's ratio. Only
// ratios carry over to another machine.
//
// Client and servers have connections of their own, as processes would, but on the in-process bus. Allocations, bytes and
// processor time are those of client and servers together, per operation; brokers are processes of their own and not
// counted. Each answer is compared with what was asked, and of updates those that did not come are counted: a row
// counts what was completed, and nothing else.
//
// # Rows
//
// A row's name is bus/size/what/callers; c64 are 64 callers at a time, s16 as many streams.
//
//	queue             a default call
//	queue-noclaim     the same with single_server
//	queue-3srv        three servers share the queue
//	affinity-first    AFFINITY routing, the first server that offers itself is taken; 1 or 3 servers
//	affinity-default  AFFINITY routing with default options, until the call has ended
//	multi3            MULTI routing to three servers, until the call has ended; -expected: the client knows how many
//	stream/send-ack   Send until the acknowledgement
//	stream/windowN    Send with up to N messages on their way, until the last one is acknowledged
//	stream/echo       Send, until the handler's answer is back
//	pub/multiN        updates to N subscribers; max: as fast as it goes, and what finds a buffer full is lost;
//	                  max-buffer4k: the same with buffers for 4096; win64: at most 64 on their way
//	pub/queue4        updates to a queue of four subscribers
//	message/...       a default call with other types of request and response; raw: the server's handler is Raw;
//	                  fastdecode: the server only reads its requests, and answers with a prepared message
//	growth/WHAT/N     a default call where there are N of something
//
// And bare: go-chan-pingpong hands a value to another goroutine and back. grpc-unary and grpc-stream-echo are grpc-go over
// loopback TCP. nats-request is Request and Respond of nats.go on a queue group. redis-pingpong is a publication that the
// other side answers with one, each on a pub/sub connection and one to publish; batched: what is to be published goes
// into one pipeline with what else waits. nats-pub and redis-pub are publications to so many subscribers; -frames: the
// messages are encoded into psrpc's frames, decoded, and handed to another goroutine.
package main
