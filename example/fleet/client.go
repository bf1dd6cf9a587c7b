package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// call makes s.count calls, which are distributed among the servers, and then one call to a server
// in s.region. Finally, it waits for one update from the servers.
func call(ctx context.Context, b bus.Bus, reg *registry.Registry, s settings) error {
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer conn.Close()

	greet, err := dynamic.NewClient[text, text](conn, "fleet.Fleet/Greet")
	if err != nil {
		return err
	}
	for i := range s.count {
		answer, err := greet.Call(ctx, wrapperspb.String(fmt.Sprintf("caller %d", i+1)))
		if err != nil {
			return fmt.Errorf("cannot call Greet, call %d: %w", i+1, err)
		}
		fmt.Println(answer.GetValue())
	}

	weather, err := dynamic.NewClient[text, text](conn, "fleet.Fleet/Weather")
	if err != nil {
		return err
	}
	answer, err := weather.Topic(s.region).Call(ctx, wrapperspb.String(""))
	if err != nil {
		return fmt.Errorf("cannot call Weather in region %s: %w", s.region, err)
	}
	fmt.Println("weather:", answer.GetValue())
	return listen(ctx, conn)
}

// listen subscribes to News and prints the first update that it receives.
func listen(ctx context.Context, conn *dynamic.Conn) error {
	news, err := dynamic.NewClient[text, text](conn, "fleet.Fleet/News")
	if err != nil {
		return err
	}
	subscription, err := news.Subscribe(ctx)
	if err != nil {
		return err
	}
	defer subscription.Close()
	if update, ok := <-subscription.Channel(); ok {
		fmt.Println("news:", update.GetValue())
	}
	return subscription.Err()
}
