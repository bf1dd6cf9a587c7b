package dynamictest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A test serves its handlers with one line. Everything is closed when the test ends.
func ExampleServe() {
	testHello := func(t testing.TB) { // in a program: func TestHello(t *testing.T)
		conn := dynamictest.Serve(t, greeter(), dynamic.Handlers{"Hello": dynamic.Unary(hello)})
		response, err := dynamic.Invoke(t.Context(), conn, "greeting.Greeter/Hello", wrapperspb.String("Ada"))
		fmt.Println(response.(text).GetValue(), err)
	}
	runTest(testHello)
	// Output: Hello, Ada <nil>
}

// A fixture gives access to the registration, to further servers and to further conns.
func ExampleNew() {
	greetFrom := func(city string) dynamic.Handlers {
		return dynamic.Handlers{"Everyone": dynamic.Unary(func(_ context.Context, name text) (text, error) {
			return wrapperspb.String("Hello " + name.GetValue() + " from " + city), nil
		})}
	}
	testFleet := func(t testing.TB) {
		f := dynamictest.New(t, greeter(), greetFrom("Rome"))
		f.AddServer(greetFrom("Oslo"))
		client, err := dynamic.NewClient[text, text](f.Conn, "greeting.Greeter/Everyone")
		if err != nil {
			t.Fatalf("%v", err)
		}
		for response := range client.Responses(t.Context(), wrapperspb.String("Ada")) {
			fmt.Println(response.ServerID, response.Result.GetValue(), response.Err)
		}
	}
	runTest(testFleet)
	// Unordered output:
	// SRV_test1 Hello Ada from Rome <nil>
	// SRV_test2 Hello Ada from Oslo <nil>
}

// patient makes calls wait longer than usual, because the machine that runs the test may be busy.
var patient = dynamictest.WithConnOptions(
	dynamic.WithSelectionTimeout(time.Minute), dynamic.WithClientTimeout(time.Minute))

// chatLength is a function of a program. It chats with a greeter and returns the length of the
// answers.
func chatLength(ctx context.Context, greeter greeterClient, words ...string) (length int, err error) {
	stream, err := greeter.Chat(ctx)
	if err != nil {
		return 0, err
	}
	for _, word := range words {
		if err := stream.Send(wrapperspb.String(word)); err != nil {
			return 0, err
		}
		length += len((<-stream.Channel()).GetValue())
	}
	return length, stream.Close(nil)
}

// A program calls a service through a struct that Bind has filled. Its test fills the struct with
// fakes.
func ExampleBindFake() {
	testChatLength := func(t testing.TB) {
		var client greeterClient
		dynamictest.BindFake(t, greeter(), &client, dynamic.Handlers{
			"Chat": dynamic.Stream(func(stream dynamic.ServerStream[text, text]) error {
				for word := range stream.Channel() {
					if err := stream.Send(wrapperspb.String(word.GetValue() + "!")); err != nil {
						return err
					}
				}
				return nil
			}),
		}, patient)
		fmt.Println(chatLength(t.Context(), client, "hi", "bye"))
	}
	runTest(testChatLength)
	// Output: 7 <nil>
}

// A test checks how a program copes with a bus that loses all responses.
func ExampleWithBus() {
	testLostRequests := func(t testing.TB) {
		faults := bustest.NewFaultBus(bus.NewLocal(), 1, bustest.Faults{
			Loss: 1, Match: func(channel bus.Channel, _ []byte) bool { return channel.Name == "Greeter|Hello|REQ" },
		})
		conn := dynamictest.Serve(t, greeter(), dynamic.Handlers{"Hello": dynamic.Unary(hello)},
			dynamictest.WithBus(faults))
		_, err := dynamic.Invoke(t.Context(), conn, "greeting.Greeter/Hello", wrapperspb.String("Ada"),
			dynamic.WithRequestTimeout(50*time.Millisecond))
		fmt.Println(errors.Is(err, errors.ErrRequestTimedOut), faults.Counts().Lost)
	}
	runTest(testLostRequests)
	// Output: true 1
}
