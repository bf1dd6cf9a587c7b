package main

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/migrated/api"
)

// myService implements the interface MyServiceServerImpl, which psrpc generates for the service.
// Only the type of the stream differs.
type myService struct{}

func (*myService) NormalRPC(context.Context, *api.MyRequest) (*api.MyResponse, error) {
	return answer("NormalRPC")
}

func (*myService) IntensiveRPC(context.Context, *api.MyRequest) (*api.MyResponse, error) {
	return answer("IntensiveRPC")
}

func (*myService) IntensiveRPCAffinity(*api.MyRequest) float32 { return 0.75 }

func (*myService) GetStats(context.Context, *api.MyRequest) (*api.MyResponse, error) {
	return answer("GetStats")
}

func (*myService) ExchangeUpdates(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
	for range stream.Channel() {
		fmt.Println("answering a message of ExchangeUpdates")
		if err := stream.Send(&api.MyServerMessage{}); err != nil {
			return err
		}
	}
	return nil
}

func (*myService) GetRegionStats(context.Context, *api.MyRequest) (*api.MyResponse, error) {
	return answer("GetRegionStats")
}

func answer(method string) (*api.MyResponse, error) {
	fmt.Println("answering", method)
	return &api.MyResponse{}, nil
}
