package dynamic_test

import (
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// fakeStream is a stream for the test of a handler. It embeds a ServerStream and implements only
// the methods that the handler calls.
type fakeStream struct {
	dynamic.ServerStream[*wrapperspb.StringValue, *wrapperspb.StringValue]

	received chan *wrapperspb.StringValue
	sent     []string
}

func (s *fakeStream) Channel() <-chan *wrapperspb.StringValue { return s.received }

func (s *fakeStream) Send(message *wrapperspb.StringValue, _ ...dynamic.StreamOption) error {
	s.sent = append(s.sent, message.GetValue())
	return nil
}

// A test can call the handler of a stream with a fake stream. The fake embeds a ServerStream,
// because the interface has an unexported method.
func ExampleServerStream_fake() {
	stream := &fakeStream{received: make(chan *wrapperspb.StringValue, 1)}
	stream.received <- wrapperspb.String("pie")
	close(stream.received)

	fmt.Println((&kitchen{}).Order(stream), stream.sent)
	// Output: <nil> [noted: pie]
}
