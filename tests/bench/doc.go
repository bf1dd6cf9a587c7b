// Command bench measures the performance of dynpsrpc. In the same run, it also measures the raw
// transports without dynpsrpc. These are the upper limits to which dynpsrpc is compared.
//
//	go -C tests/bench run . -run 'redis/64B' -rounds 5 -time 1s
//
// Each benchmark is one row of the printed table. Every benchmark runs once in each round, so that
// other load on the machine affects all benchmarks of a round alike. The program prints the median
// of each figure over all rounds. The ratio of two benchmarks is computed for each round, and the
// median of these ratios is printed. Only ratios are comparable across machines.
//
// With -rivals, the program runs the benchmarks that psrpc v0.8.2 can run too, and measures both
// libraries. The benchmark of psrpc has the same name with the prefix psrpc/ and runs directly
// after that of dynpsrpc. Both have the same callers, servers and checks. psrpc has its default
// settings, except that its servers handle queue requests without claims, which makes it faster.
// After the last response to a multi call, the caller of psrpc cancels the call. Otherwise, the
// call would last until its timeout. Streams of psrpc have no window, so in stream/windowN, N
// goroutines send at the same time. psrpc loses messages under load. The program prints the
// percentage of lost messages next to the ratio.
//
// With -tool, the program compares itself with psrpc bench, the benchmark command of dynpsrpc's
// command line. Both generate the same load on the same servers, each in a separate process. They
// run in turns. The program fails if the rates or median latencies differ by more than 10 %.
//
// The client and the servers use separate connections, as separate processes would, except on the
// in-process bus. Allocations, bytes and CPU time are given per operation, for the client and the
// servers together. Brokers run in separate processes and are not included. Each response is
// compared with its request, and only completed operations count. Lost updates are counted
// separately.
//
// # Benchmarks
//
// Benchmarks are named bus/size/operation/callers. For example, c64 stands for 64 concurrent
// callers and s16 for 16 streams. These are the operations:
//
//	queue             a call with default routing and options
//	queue-noclaim     like queue, for a method with the option single_server
//	queue-3srv        like queue, with three servers that share the queue
//	affinity-first    AFFINITY routing; the client accepts the first claim; 1 or 3 servers
//	affinity-default  AFFINITY routing with default options, measured until the call has ended
//	multi3            MULTI routing to three servers, measured until the call has ended;
//	                  with -expected, the client sets the number of expected responses
//	stream/send-ack   Send, measured until the message is acknowledged
//	stream/windowN    Send with up to N unacknowledged messages at a time, measured until the
//	                  last message is acknowledged
//	stream/echo       Send, measured until the handler's response arrives
//	pub/multiN        updates published to N subscribers;
//	                  max: published at full speed; updates that overflow a buffer are lost;
//	                  win64: published with at most 64 updates in flight
//	pub/queue4        updates published to a queue of four subscribers
//	message/TYPE      a call like queue, with various Go types of request and response;
//	                  raw: the server uses a Raw handler;
//	                  fastdecode: the server decodes requests with package fastdecode, and returns
//	                  a prepared message
//	growth/WHAT/N     a call like queue with N services, methods, topics or waiting calls
//	growth/servers/N  queue, affinity and multi calls with N servers; also with raw transports
//	growth/subscribers/N  queue calls on NATS with N subscribers to a queue of updates
//
// Other benchmarks measure raw transports. go-chan-pingpong passes a value to another goroutine and
// back. grpc-unary and grpc-stream-echo use grpc-go over loopback TCP. nats-request uses the
// Request and Respond methods of nats.go with a queue group. redis-pingpong answers each published
// message by publishing another one. On Redis, each side has one connection for its subscription
// and one for publishing. nats-pub and redis-pub publish to N subscribers.
//
// Suffixes of these names describe variants:
//
//	-claims-3srv   three servers, and as many messages as in an affinity call
//	-answers-3srv  three servers, and as many messages as in a multi call
//	-acked-echo    as many messages as on a stream whose handler sends each message back
//	-batched       all messages that are waiting to be published are sent in one pipeline
//	-frames        messages are also encoded into psrpc frames, decoded, and passed to another
//	               goroutine
package main
