package main

import (
	"bytes"
	"fmt"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	subject = "bench"
	// routingKey is about as long as the routing keys that dynpsrpc uses on NATS.
	routingKey = "News"
	// frameBuffer is the capacity of each subscriber's channel. The channel of a dynpsrpc
	// subscription has at most the same capacity.
	frameBuffer = 1024
)

// natsRows returns the benchmarks that use nats.go directly.
func natsRows() []*row {
	var rows []*row
	for _, n := range []int{1, 16, 64} {
		rows = append(rows, &row{name: fmt.Sprintf("nats-request/c%d", n), open: func(s *scene) load { return s.natsRequests(1, n) }})
	}
	for _, subscribers := range []int{0, 1, 10} {
		rows = append(rows, &row{name: fmt.Sprintf("nats-pub-%dsub/max", subscribers), open: func(s *scene) load {
			return s.natsUpdates(subscribers, subscribers, "")
		}})
	}
	for _, subscribers := range []int{1, 10} {
		rows = append(rows, &row{name: fmt.Sprintf("nats-pub-%dsub-frames/max", subscribers), open: func(s *scene) load {
			return s.natsFrameUpdates(subscribers)
		}})
	}
	rows = append(rows, &row{name: "nats-pub-queue4/max", open: func(s *scene) load { return s.natsUpdates(4, 1, "queue") }})
	return append(rows, rawCallRows(onNATS)...)
}

func (s *scene) natsConn() *nats.Conn {
	conn, err := nats.Connect(s.brokers.urls[onNATS])
	s.check(err)
	s.Cleanup(conn.Close)
	return conn
}

// natsSubscribe subscribes on a new connection. If queue is not empty, the subscription is a member
// of that queue group. deliver is called for each message.
func (s *scene) natsSubscribe(queue string, deliver nats.MsgHandler) {
	conn := s.natsConn()
	subscription, err := conn.QueueSubscribe(subject, queue, deliver)
	s.check(err)
	s.check(subscription.SetPendingLimits(-1, -1))
	s.check(conn.Flush())
}

// natsRequests returns a [load] in which n concurrent callers make requests to a queue group with
// the given number of servers.
func (s *scene) natsRequests(servers, n int) load {
	for range servers {
		s.natsSubscribe("queue", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	}
	conn := s.natsConn()
	return callers(perCaller(n, func(caller int) func() error {
		body := []byte(s.body(caller))
		return func() error {
			response, err := conn.Request(subject, body, patience)
			if err == nil && !bytes.Equal(response.Data, body) {
				err = errWrongAnswer
			}
			return err
		}
	}))
}

func (s *scene) natsUpdates(subscribers, copies int, queue string) load {
	f := newFeed(copies, 0)
	body := []byte(s.body(0))
	for range subscribers {
		subscriber := f.subscriber()
		s.natsSubscribe(queue, func(m *nats.Msg) { subscriber.got(bytes.Equal(m.Data, body)) })
	}
	conn := s.natsConn()
	f.publish = func() error { return conn.Publish(subject, body) }
	f.flush = conn.Flush
	return f.run
}

// natsFrameUpdates returns a [load] that publishes updates with nats.go. As in dynpsrpc, messages
// are encoded into psrpc frames, decoded, and passed to the subscriber's goroutine.
func (s *scene) natsFrameUpdates(subscribers int) load {
	f := newFeed(subscribers, 0)
	body := s.body(0)
	for range subscribers {
		updates := make(chan text, frameBuffer)
		s.natsSubscribe("", func(m *nats.Msg) {
			envelope, err := wire.ParseEnvelope(m.Data)
			update := &wrapperspb.StringValue{}
			// Messages that cannot be decoded count as lost.
			if err == nil && proto.Unmarshal(envelope.Value, update) == nil {
				updates <- update
			}
		})
		subscriber := f.subscriber()
		s.reader(func() {
			for update := <-updates; update != nil; update = <-updates {
				subscriber.got(update.GetValue() == body)
			}
			// A nil value ends the loop. The channel is not closed, because the message handler may still
			// send to it.
		}, func() { updates <- nil })
	}
	conn, update := s.natsConn(), wire.Body{Message: wrapperspb.String(body), Initialized: true}
	name := string(update.Message.ProtoReflect().Descriptor().FullName())
	f.publish = func() error {
		frame, err := wire.AppendMessageFrame(nil, update, name, 0)
		if err != nil {
			return err
		}
		return conn.Publish(subject, wire.AppendRoutingKey(frame, routingKey))
	}
	f.flush = conn.Flush
	return f.run
}
