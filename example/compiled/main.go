// Command compiled serves a service whose messages were compiled by protoc-gen-go: it is registered from the
// descriptor in the generated file, with handlers that are methods of a Go type. There are no psrpc stubs.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// service is an ordinary implementation: it knows nothing of the bus.
type service struct{ visits map[string]int64 }

func (s *service) NormalRPC(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
	if request.GetAddress() == nil {
		return nil, errors.NewError(errors.InvalidArgument, errors.New("an address is needed"), request)
	}
	return &api.MyResponse{
		Text:   fmt.Sprintf("%s is at %s", request.GetName(), request.GetAddress().GetHost()),
		Total:  request.GetCount() + 1,
		Counts: s.visits,
	}, nil
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	b := bus.NewLocal()
	defer b.Close()

	server := dynamic.NewServer(b)
	defer server.Kill()
	impl := &service{visits: map[string]int64{"eu-west-1": 3}}
	_, err := server.Register(api.File_my_service_proto.Services().ByName("MyService"), dynamic.Handlers{
		"NormalRPC": dynamic.Unary(impl.NormalRPC),
	}, dynamic.AllowMissing())
	if err != nil {
		return err
	}

	reg := registry.New()
	if err := reg.RegisterFile(api.File_my_service_proto); err != nil {
		return err
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer conn.Close()
	client, err := dynamic.NewClient[*api.MyRequest, *api.MyResponse](conn, "example.compiled.v1.MyService/NormalRPC")
	if err != nil {
		return err
	}

	response, err := client.Call(ctx, &api.MyRequest{Name: "Ada", Count: 41, Address: &api.Address{Host: "host-7"}})
	if err != nil {
		return err
	}
	fmt.Printf("%s, total %d, eu-west-1 had %d visits\n",
		response.GetText(), response.GetTotal(), response.GetCounts()["eu-west-1"])

	_, err = client.Call(ctx, &api.MyRequest{Name: "Grace"})
	if failure, ok := errors.AsType[errors.Error](err); ok {
		fmt.Printf("without an address: code %s, %q, details of type %T\n", failure.Code(), failure.Error(), failure.Details()[0])
	}
	return nil
}
