// Command bench measures the engine and, in the same run, its upper bound: the raw transport.
//
//	go -C tests/bench run . -run 'redis/64B' -rounds 5 -time 1s
//
// Every row runs once in each round. The rows that are compared run one after the other, so that
// other load on the machine affects both. The program prints medians over the rounds, and for
// ratios the median of the ratios of each round. Only ratios are comparable across machines.
//
// Client and servers use separate connections, as separate processes would, except on the
// in-process bus. Allocations, bytes and CPU time are per operation, for client and servers
// together; brokers run in separate processes and are not counted. Each response is compared with
// its request, and lost updates are counted: a row counts completed operations only.
//
// # Rows
//
// A row's name is bus/size/operation/callers. c64 means 64 concurrent callers, s16 means 16
// streams.
//
//	queue             a default call
//	queue-noclaim     the same with single_server
//	queue-3srv        three servers share the queue
//	affinity-first    AFFINITY routing, the client takes the first claim; 1 or 3 servers
//	affinity-default  AFFINITY routing with default options, until the call has ended
//	multi3            MULTI routing to three servers, until the call has ended;
//	                  -expected: with the number of expected responses
//	stream/send-ack   Send until the acknowledgement
//	stream/windowN    Send with up to N unacknowledged messages, until the last acknowledgement
//	stream/echo       Send until the response of the handler
//	pub/multiN        updates to N subscribers;
//	                  max: at full speed, updates that meet a full buffer are lost;
//	                  max-buffer4k: max with buffers for 4096 updates;
//	                  win64: at most 64 updates in flight
//	pub/queue4        updates to a queue of four subscribers
//	message/...       a default call with other types of request and response;
//	                  raw: the handler of the server is Raw;
//	                  fastdecode: the server only reads requests, and returns a prepared message
//	growth/WHAT/N     a default call with N services, methods, topics or waiting calls
//
// Raw transports: go-chan-pingpong passes a value to another goroutine and back. grpc-unary and
// grpc-stream-echo use grpc-go over loopback TCP. nats-request uses Request and Respond of nats.go
// on a queue group. redis-pingpong answers a publication with another publication; each side has
// one connection for pub/sub and one for publishing; batched: all waiting publications go into one
// pipeline. nats-pub and redis-pub publish to N subscribers; -frames: messages are encoded into
// psrpc frames, decoded, and passed to another goroutine.
package main
