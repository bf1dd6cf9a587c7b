// Command migrated is a program that was written for psrpc and now uses dynpsrpc. In its service
// (see service.go), only the type of the stream has changed. The calls of its client have not
// changed. The program still uses generated messages, but no generated stubs. The file psrpc.txt
// contains the psrpc version of the function run. A test in tests/interop compiles and runs that
// version.
//
//	go run ./example/migrated
//
// The program prints a line for each method that is called. A test counts the lines of code in both
// versions of run: 29 with dynpsrpc and 26 with psrpc. The 3 additional lines create the server,
// declare the client and bind it. The dynpsrpc version also needs the struct myServiceClient, which
// has one field for each method.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/migrated/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// region is the type of the topics.
type region string

// myServiceClient contains a function for each method of the service. The functions are called like
// the methods of the client that psrpc generates. A test can replace them with functions of its
// own.
type myServiceClient struct {
	NormalRPC                  dynamic.UnaryFunc[*api.MyRequest, *api.MyResponse]
	IntensiveRPC               dynamic.UnaryFunc[*api.MyRequest, *api.MyResponse]
	GetStats                   dynamic.MultiFunc[*api.MyRequest, *api.MyResponse]
	ExchangeUpdates            dynamic.StreamFunc[*api.MyClientMessage, *api.MyServerMessage]
	GetRegionStats             dynamic.TopicMultiFunc[region, *api.MyRequest, *api.MyResponse]
	SubscribeProcessUpdate     dynamic.SubscribeFunc[*api.MyUpdate]
	SubscribeUpdateState       dynamic.SubscribeFunc[*api.MyUpdate]
	SubscribeUpdateRegionState dynamic.TopicSubscribeFunc[region, *api.MyUpdate]
}

func main() { run(context.Background()) }

func run(ctx context.Context) {
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	service := must(server.Register(api.File_my_service_proto.Services().ByName("MyService"), dynamic.HandlersOf(&myService{})))
	check(service.RegisterTopic("GetRegionStats", "eu"))
	conn := must(dynamic.NewConn(b, must(registry.NewLinked())))
	var client myServiceClient
	check(dynamic.Bind(conn, "MyService", &client))

	must(client.NormalRPC(ctx, &api.MyRequest{}))
	options := dynamic.SelectionOpts{MinimumAffinity: 0.5, ShortCircuitTimeout: 10 * time.Millisecond}
	must(client.IntensiveRPC(ctx, &api.MyRequest{}, dynamic.WithSelectionOpts(options)))
	for response := range must(client.GetStats(ctx, &api.MyRequest{})) {
		check(response.Err)
	}
	for response := range must(client.GetRegionStats(ctx, "eu", &api.MyRequest{})) {
		check(response.Err)
	}
	stream := must(client.ExchangeUpdates(ctx))
	check(stream.Send(&api.MyClientMessage{}))
	<-stream.Channel()
	check(stream.Close(nil))

	jobs := must(client.SubscribeProcessUpdate(ctx))
	state := must(client.SubscribeUpdateState(ctx))
	regionState := must(client.SubscribeUpdateRegionState(ctx, "eu"))
	check(service.Publish(ctx, "ProcessUpdate", &api.MyUpdate{}))
	check(service.Publish(ctx, "UpdateState", &api.MyUpdate{}))
	check(service.Publish(ctx, "UpdateRegionState", &api.MyUpdate{}, dynamic.WithTopic("eu")))
	fmt.Printf("received %T, %T, %T\n", <-jobs.Channel(), <-state.Channel(), <-regionState.Channel())

	check(conn.Close())
	check(server.Shutdown(ctx))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
