package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Only the servers that are registered for a topic receive its requests. Here the topic is a
// region. Client.Topic returns a client for one topic, and WithTopic sets the topic of one call.
func ExampleRegistration_RegisterTopic() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Weather {
		  rpc Forecast(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options).topics = true;
		    option (psrpc.options).topic_params = { names: "region" };
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"weather.proto": {Data: []byte(source)}}, "weather.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Weather")
	b := bus.NewLocal()
	defer b.Close()

	// Start one server per region.
	for region, weather := range map[string]string{"alps": "snow", "sahara": "sun"} {
		forecast := func(_ context.Context, day *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String(weather + " on " + day.GetValue()), nil
		}
		server := dynamic.NewServer(b)
		defer server.Kill()
		registration, err := server.Register(service, dynamic.Handlers{"Forecast": dynamic.Unary(forecast)})
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := registration.RegisterTopic("Forecast", region); err != nil {
			fmt.Println(err)
			return
		}
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Weather/Forecast")
	if err != nil {
		fmt.Println(err)
		return
	}

	alps := client.Topic("alps") // this client can be used for many calls
	response, err := alps.Call(context.Background(), wrapperspb.String("Monday"))
	fmt.Println(response.GetValue(), err)

	response, err = client.Call(context.Background(), wrapperspb.String("Monday"), dynamic.WithTopic("sahara"))
	fmt.Println(response.GetValue(), err)

	_, err = client.Call(context.Background(), wrapperspb.String("Monday"), dynamic.WithTopic("atlantis"))
	fmt.Println("no server for this topic:", errors.Is(err, errors.ErrNoResponse))
	// Output:
	// snow on Monday <nil>
	// sun on Monday <nil>
	// no server for this topic: true
}
