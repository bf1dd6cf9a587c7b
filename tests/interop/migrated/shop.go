//go:build !psrpc_oldest

package main

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

type text = *wrapperspb.StringValue

// timeout is the timeout of calls. It is long, because tests run the program on a busy machine.
const timeout = 20 * time.Second

// shop implements the service for both libraries. Its methods have the types that psrpc's generated
// code requires. Only the method Chat differs, because each library has its own type of stream.
type shop struct {
	server   string
	affinity float32
}

func (s *shop) Sell(_ context.Context, item text) (text, error) { return s.answer("sold", item), nil }

func (s *shop) Quote(_ context.Context, item text) (text, error) {
	return s.answer("quoted", item), nil
}

func (s *shop) QuoteAffinity(context.Context, text) float32 { return s.affinity }

func (s *shop) Chat(stream dynamic.ServerStream[text, text]) error { return chat(s, stream) }

// chat serves a stream of either library. The streams differ only in the type of the options.
func chat[Option any](s *shop, stream interface {
	Channel() <-chan text
	Send(message text, opts ...Option) error
},
) error {
	for message := range stream.Channel() {
		if err := stream.Send(s.answer("heard", message)); err != nil {
			return err
		}
	}
	return nil
}

// talk sends a message on a stream of either library, waits for the answer and closes the stream.
func talk[Option any](stream interface {
	Channel() <-chan text
	Send(message text, opts ...Option) error
	Close(cause error) error
}, message text,
) (text, error) {
	if err := stream.Send(message); err != nil {
		return nil, err
	}
	answer := <-stream.Channel()
	return answer, stream.Close(nil)
}

// call makes a call to one method with either library.
type call func(ctx context.Context, request text) (text, error)

// shopClient calls the methods of the service with either library.
type shopClient struct{ sell, quote, chat call }

func (s *shop) answer(verb string, request text) text {
	return wrapperspb.String(s.server + " " + verb + " " + request.GetValue())
}
