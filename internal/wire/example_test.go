package wire_test

import (
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// A request is encoded in one step. It is decoded in two steps: first the envelope, then the inner
// message.
func ExampleParseEnvelope() {
	sent := wire.Request{
		RequestID: []byte("REQ_1"),
		ClientID:  []byte("CLI_1"),
		Body:      wire.Body{Message: wrapperspb.String("world")},
	}
	frame, err := sent.AppendFrame(nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	env, err := wire.ParseEnvelope(frame)
	if err != nil {
		fmt.Println(err)
		return
	}
	if env.Kind == wire.KindRequest {
		got, err := wire.ParseRequest(env.Value)
		fmt.Printf("%s from %s: %q %v\n", got.RequestID, got.ClientID, got.Body.Raw, err)
	}
	// Output: REQ_1 from CLI_1: "\n\x05world" <nil>
}

// The frame of an update contains the user's message directly in the envelope. On NATS, the frame
// also needs a routing key.
func ExampleAppendMessageFrame() {
	update := wire.Body{Message: wrapperspb.String("u1")}
	frame, err := wire.AppendMessageFrame(nil, update, "google.protobuf.StringValue", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	channel := wire.RequestChannel("MyService", "ProcessUpdate", nil, true)
	frame = wire.AppendRoutingKey(frame, channel.Key)

	env, err := wire.ParseEnvelope(frame)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := wire.RoutingKey(frame)
	fmt.Printf("%s %q for %s %v\n", env.TypeName, env.Value, key, err)
	// Output: google.protobuf.StringValue "\n\x02u1" for ProcessUpdate.REQ <nil>
}

func ExampleRequestChannel() {
	channel := wire.RequestChannel("MyService", "GetRegionStats", []string{"eu-west.1"}, true)
	fmt.Println(channel.Name)
	fmt.Println(channel.Subject)
	fmt.Println(channel.Key)
	// Output:
	// MyService|GetRegionStats|euu+002dwestu+002e1|REQ
	// SRV.MyService.euu+002dwestu+002e1.Q
	// GetRegionStats.REQ
}
