package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// rawConn is a direct connection to a broker, without dynpsrpc.
type rawConn struct {
	// publisher returns a function that publishes on a channel. That function may return before the
	// broker has received the payload.
	publisher func(channel string) func(payload string) error
	// subscribe subscribes to channels; deliver is called for each payload. If deliver publishes,
	// call publisher before subscribe. The scene ends the two in reverse order, so the subscription
	// then ends before the publisher. Otherwise, deliver could still publish after the publisher
	// has ended.
	subscribe func(deliver func(channel, payload string), channels ...string)
}

// rawCallRows returns benchmarks that exchange messages over a raw transport. The number of
// messages is the same as in affinity calls and multi calls to three servers, and as on streams
// whose handlers send each message back.
func rawCallRows(bus string) []*row {
	var rows []*row
	for _, n := range []int{1, 64} {
		rows = append(rows, &row{name: fmt.Sprintf("%s%s/c%d", bus, claims3, n), open: func(s *scene) load { return s.rawCalls(3, n, true) }})
	}
	for _, n := range []int{1, 16} {
		rows = append(rows, &row{name: fmt.Sprintf("%s%s/c%d", bus, answers3, n), open: func(s *scene) load { return s.rawCalls(3, n, false) }})
	}
	for _, n := range []int{1, 16} {
		rows = append(rows, &row{name: fmt.Sprintf("%s%s/c%d", bus, ackedEcho, n), open: func(s *scene) load { return s.rawEchoes(n) }})
	}
	return rows
}

// rawConn returns a new connection to the broker. If batched is true, payloads that are waiting to
// be published to Redis are sent in one pipeline.
func (s *scene) rawConn(batched bool) rawConn {
	if s.row.bus == onRedis {
		client := s.redisClient()
		return rawConn{
			publisher: func(channel string) func(payload string) error { return s.redisPublisher(client, channel, batched) },
			subscribe: func(deliver func(channel, payload string), channels ...string) {
				s.redisSubscribe(client, deliver, channels...)
			},
		}
	}
	conn := s.natsConn()
	return rawConn{
		publisher: func(channel string) func(payload string) error {
			return func(payload string) error { return conn.Publish(channel, []byte(payload)) }
		},
		subscribe: func(deliver func(channel, payload string), channels ...string) {
			for _, channel := range channels {
				subscription, err := conn.Subscribe(channel, func(m *nats.Msg) { deliver(channel, string(m.Data)) })
				s.check(err)
				s.check(subscription.SetPendingLimits(-1, -1))
			}
			s.check(conn.Flush())
		},
	}
}

// rawCalls returns a [load] in which n concurrent callers send requests to all servers. It sends as
// many messages as dynpsrpc does in affinity calls or multi calls.
//
// With grants, as in an affinity call, each server answers a request with its own number. The
// caller publishes the number that arrives first, and the server with that number sends a reply.
// Without grants, as in a multi call, each server sends a reply at once.
//
// An exchange consists of a payload that a caller publishes and the replies to that payload. Each
// payload begins with the number of the caller and the number of the exchange.
func (s *scene) rawCalls(servers, n int, withGrants bool) load {
	for i := range servers {
		s.rawServer(s.rawConn(n > 1), strconv.Itoa(i), withGrants)
	}
	conn := s.rawConn(n > 1)
	request, grant := conn.publisher(requests), conn.publisher(grants)
	all := conn.callers(n)
	return callers(perCaller(n, func(i int) func() error {
		caller := &all[i]
		return func() error {
			answers := servers
			if withGrants {
				answers = 1
			}
			mark := caller.begin(answers)
			answer, err := caller.exchange(request, s.pad(mark), s.overdue)
			if withGrants && err == nil {
				server := answer[len(mark):]
				mark = caller.begin(1)
				answer, err = caller.exchange(grant, mark+server, s.overdue)
			}
			if err == nil && answer != s.pad(mark) {
				err = errWrongAnswer
			}
			return err
		}
	}))
}

// callers returns n callers, which receive their replies on the connection. It subscribes to the
// replies, so it must be called after c.publisher; see [rawConn].
func (c *rawConn) callers(n int) []rawCaller {
	all := make([]rawCaller, n)
	for i := range all {
		all[i] = rawCaller{prefix: strconv.Itoa(i) + "|", arrived: make(chan string, 1)}
	}
	c.subscribe(func(_, payload string) {
		number, rest, _ := strings.Cut(payload, "|")
		exchange, _, _ := strings.Cut(rest, "|")
		if i, err := strconv.Atoi(number); err == nil && i < n {
			all[i].receive(exchange, payload)
		}
	}, replies)
	return all
}

// rawEchoes returns a [load] in which n concurrent callers exchange messages with a server. It
// sends as many messages as dynpsrpc does on streams whose handlers send each message back: the
// caller's message, its acknowledgement, the server's copy of the message, and the acknowledgement
// of this copy.
func (s *scene) rawEchoes(n int) load {
	server := s.rawConn(n > 1)
	reply := server.publisher(replies)
	server.subscribe(func(channel, payload string) {
		if channel == requests {
			_ = reply(payload[:strings.LastIndexByte(payload, '|')+1])
			_ = reply(payload)
		}
	}, requests, grants)
	conn := s.rawConn(n > 1)
	message, acknowledgement := conn.publisher(requests), conn.publisher(grants)
	all := conn.callers(n)
	return callers(perCaller(n, func(i int) func() error {
		caller := &all[i]
		return func() error {
			mark := caller.begin(2)
			payload := s.pad(mark)
			answer, err := caller.exchange(message, payload, s.overdue)
			if err == nil && answer != payload {
				err = errWrongAnswer
			}
			if err != nil {
				return err
			}
			return acknowledgement(mark)
		}
	}))
}

// rawServer starts a server for [scene.rawCalls] on the connection conn. The argument name is the
// number of the server.
func (s *scene) rawServer(conn rawConn, name string, withGrants bool) {
	reply := conn.publisher(replies)
	conn.subscribe(func(channel, payload string) {
		mark := payload[:strings.LastIndexByte(payload, '|')+1]
		switch {
		case channel == requests && withGrants:
			_ = reply(mark + name)
		case channel == requests || payload == mark+name:
			_ = reply(s.pad(mark))
		}
	}, requests, grants)
}

// pad returns a text of the benchmark's size that begins with mark.
func (s *scene) pad(mark string) string {
	return mark + strings.Repeat("x", s.row.size.bytes-len(mark))
}

// rawCaller is one of the concurrent callers of [scene.rawCalls]. It makes one exchange at a time.
type rawCaller struct {
	// prefix is the number of the caller, followed by a separator. All payloads of the caller begin
	// with it.
	prefix string
	// state is the number of the current exchange, shifted left by missingBits, plus the number of
	// replies that are still missing.
	state atomic.Int64
	// arrived receives the last reply of an exchange.
	arrived chan string
}

const missingBits = 16

// begin starts an exchange in which the given number of replies are expected. It returns the text
// with which all payloads of the exchange begin.
func (c *rawCaller) begin(replies int) (mark string) {
	exchange := c.state.Load()>>missingBits + 1
	c.state.Store(exchange<<missingBits + int64(replies))
	return fmt.Sprint(c.prefix, exchange, "|")
}

// exchange publishes a payload, waits for all replies and returns the last one. If overdue is
// closed first, it returns errOverdue.
func (c *rawCaller) exchange(publish func(payload string) error, payload string, overdue <-chan struct{}) (string, error) {
	if err := publish(payload); err != nil {
		return "", err
	}
	select {
	case answer := <-c.arrived:
		return answer, nil
	case <-overdue:
		return "", errOverdue
	}
}

// receive counts a reply. It ignores replies of earlier exchanges.
func (c *rawCaller) receive(exchange, payload string) {
	number, err := strconv.ParseInt(exchange, 10, 64)
	for err == nil {
		state := c.state.Load()
		missing := state & (1<<missingBits - 1)
		if state>>missingBits != number || missing == 0 {
			return
		}
		if c.state.CompareAndSwap(state, state-1) {
			if missing == 1 {
				c.arrived <- payload
			}
			return
		}
	}
}
