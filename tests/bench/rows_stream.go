package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// streamRows returns the benchmarks that measure messages sent on streams.
func streamRows(bus string) []*row {
	var rows []*row
	for _, n := range []int{1, 16} {
		echoLimits := callLimits(bus, n, ackedEcho)
		if bus == onLocal {
			echoLimits = []string{fmt.Sprintf("go-chan-pingpong/c%d", n), fmt.Sprintf("grpc-stream-echo/c%d", n)}
		}
		rows = append(rows,
			&row{
				name: fmt.Sprintf("stream/send-ack/s%d", n), limits: callLimits(bus, n, pingPong),
				open:  func(s *scene) load { return s.sends(n, 1) },
				rival: func(s *scene) load { return s.psrpcSends(n, 1) },
			},
			&row{
				name: fmt.Sprintf("stream/echo/s%d", n), limits: echoLimits,
				open:  func(s *scene) load { return s.echoes(n) },
				rival: func(s *scene) load { return s.psrpcEchoes(n) },
			})
	}
	for _, window := range []int{64, 1024} {
		rows = append(rows, &row{
			name: fmt.Sprintf("stream/window%d/s1", window), limits: oneWayLimits(bus),
			open:  func(s *scene) load { return s.sends(1, window) },
			rival: func(s *scene) load { return s.psrpcSends(1, window) },
		})
	}
	return rows
}

// oneWayLimits returns the names of the benchmarks to which one-way stream benchmarks are compared.
// In a one-way benchmark, only the client sends messages.
func oneWayLimits(bus string) []string {
	if bus == onLocal {
		return []string{"go-chan-pingpong/c1"}
	}
	return []string{bus + "-pub-1sub/max"}
}

// sends returns a [load] that sends messages one after another on each of n streams. window is the
// maximum number of unacknowledged messages on a stream. If window is 1, each call to Send waits
// for the acknowledgement of its message. Messages that the handlers do not receive count as lost.
func (s *scene) sends(n, window int) load {
	var received atomic.Uint64
	s.serve(dynamic.Handlers{flow: dynamic.Stream(func(stream dynamic.ServerStream[text, text]) error {
		s.countRight(stream.Channel(), &received)
		return nil
	}, dynamic.WithStreamBuffer(window))})

	streams := s.streams(n, dynamic.WithStreamWindow(window))
	send := callers(perCaller(n, func(caller int) func() error {
		message := wrapperspb.String(s.body(caller))
		return func() error { return streams[caller].Send(message) }
	}))
	flush := func() error {
		var err error
		for _, stream := range streams {
			err = errors.Join(err, s.flush(stream))
		}
		return err
	}
	return countingLost(send, flush, &received)
}

// countRight counts the messages that have the size of the benchmark and the same content as the
// first one. It returns when messages is closed.
func (s *scene) countRight(messages <-chan text, n *atomic.Uint64) {
	var body string
	for message := range messages {
		if body == "" {
			body = message.GetValue()
		}
		if message.GetValue() == body && len(body) == s.row.size.bytes {
			n.Add(1)
		}
	}
}

// countingLost returns a [load] that runs send and then flush. received counts the messages that
// the handlers have received. All other messages that send has sent are lost.
func countingLost(send load, flush func() error, received *atomic.Uint64) load {
	return func(until time.Time) tally {
		start, before := time.Now(), received.Load()
		result := send(until)
		if err := flush(); err != nil {
			result.failed, result.err = result.failed+1, err
		}
		result.elapsed = time.Since(start)
		settle(func() bool { return received.Load()-before >= result.completed }, received.Load)
		result.lost = result.completed - min(received.Load()-before, result.completed)
		result.completed -= result.lost
		return result
	}
}

func (s *scene) flush(stream dynamic.ClientStream[text, text]) error {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	return stream.Flush(ctx)
}

// echoes returns a [load] that sends messages on n streams. The handlers send each message back. On
// each stream, the load waits until a message has come back before it sends the next one.
func (s *scene) echoes(n int) load {
	s.serve(dynamic.Handlers{flow: dynamic.Stream(echoStream)})
	streams := s.streams(n)
	return callers(perCaller(n, func(caller int) func() error {
		stream := streams[caller]
		send := func(message text) error { return stream.Send(message) }
		return s.exchange(caller, send, stream.Channel(), stream.Err)
	}))
}

// exchange returns an operation that sends a message on a stream and waits until the message comes
// back. cause returns the error with which the stream has ended.
func (s *scene) exchange(caller int, send func(text) error, answers <-chan text, cause func() error) func() error {
	body := s.body(caller)
	message := wrapperspb.String(body)
	return func() error {
		if err := send(message); err != nil {
			return err
		}
		select {
		// The value answer is nil if the stream has ended.
		case answer := <-answers:
			if answer.GetValue() != body {
				return errors.Join(errWrongAnswer, cause())
			}
			return nil
		case <-s.overdue:
			return errOverdue
		}
	}
}

// streams opens n streams. The streams are closed when the scene ends.
func (s *scene) streams(n int, options ...dynamic.RequestOption) []dynamic.ClientStream[text, text] {
	client := s.client(s.conn(), flow)
	streams := make([]dynamic.ClientStream[text, text], n)
	for i := range streams {
		stream, err := client.OpenStream(s.Context(), options...)
		s.check(err)
		s.Cleanup(func() { _ = stream.Close(nil) })
		streams[i] = stream
	}
	return streams
}
