package main

import (
	"context"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// runServer serves all methods of Work until ctx ends.
func runServer(ctx context.Context, s settings, link bus.Bus) error {
	reg, err := newRegistry()
	if err != nil {
		return err
	}
	work, ok := reg.Service("chaos.Work")
	if !ok {
		return errors.New("no service Work")
	}
	handler := func(kind string) dynamic.Handler {
		return dynamic.Unary(func(ctx context.Context, request text) (text, error) {
			reportRan(kind, request.GetValue())
			wait(ctx, s.takes)
			return request, nil
		})
	}
	server := dynamic.NewServer(link, dynamic.WithKeepalive(keepalive))
	registration, err := server.Register(work, dynamic.Handlers{
		"Queue": handler("queue"), "Affinity": handler("affinity"), "Multi": handler("multi"), "Topic": handler("topic"),
		"Stream": dynamic.Stream(echo),
	})
	if err != nil {
		return err
	}
	if err := registration.RegisterTopic("Topic", region); err != nil {
		return err
	}
	go readCommands(nil) // this goroutine runs until the process ends
	reportf("ready")
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	return server.Shutdown(end)
}

// echo sends each message of a stream back to the client. It does not wait for acknowledgements
// before it reads the next message. The time in the report of a message is therefore the time at
// which the message arrived.
func echo(stream dynamic.ServerStream[text, text]) error {
	answers := make(chan text, 1)
	var sender sync.WaitGroup
	defer sender.Wait()
	defer close(answers)
	sender.Go(func() { // this goroutine ends when answers is closed
		for answer := range answers {
			// Ignore the error: the client reports that the echo is missing.
			_ = stream.Send(answer)
		}
	})
	for message := range stream.Channel() {
		reportRan("stream", message.GetValue())
		select {
		case answers <- message:
		default:
			// The echo is dropped, because the client has not acknowledged the previous ones.
		}
	}
	return nil
}

// wait waits for the duration d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
