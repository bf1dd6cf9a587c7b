package dynamic_test

import (
	"fmt"
	"testing"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// BenchmarkStream measures a stream over the in-process bus, with the client and the server in one
// process. It measures a Send with its acknowledgement, several Sends in a window, and a message
// that is sent back.
func BenchmarkStream(b *testing.B) {
	const body = "0123456789012345678901234567890123456789012345678901234567890123"
	swallow := func(stream serverText) error {
		for range stream.Channel() {
		}
		return nil
	}
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprint("send-ack/window=", window), func(b *testing.B) {
			stream := newFlowWorld(b, bus.NewLocal(), swallow).open(b, directFlow, dynamic.WithStreamWindow(window))
			benchmarkCallers(b, 1, func() error { return stream.Send(say(body)) })
		})
	}
	b.Run("echo", func(b *testing.B) {
		stream := newFlowWorld(b, bus.NewLocal(), echoFlow).open(b, directFlow)
		benchmarkCallers(b, 1, func() error {
			err := stream.Send(say(body))
			<-stream.Channel()
			return err
		})
	})
}
