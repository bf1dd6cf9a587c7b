package regression

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestDefect20_SlowStreamReceiver(t *testing.T) {
	t.Parallel()
	const messages = 5 * dynamic.DefaultStreamBuffer
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		read, received := make(chan struct{}), make(chan int64, messages)
		testkit.Serve(t, network.Connect(t), dynamic.Handlers{
			"ExchangeUpdates": dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
				<-read
				for message := range stream.Channel() {
					received <- message.GetSequence()
				}
				return nil
			}),
		})
		stream, err := testkit.Streamer(t, testkit.Conn(t, network.Connect(t))).OpenStream(t.Context(), patient)
		require.NoError(t, err)
		for i := range int64(messages) {
			// The buffer of the receiver is full. The handler starts to read while Send is waiting.
			if i == dynamic.DefaultStreamBuffer {
				time.AfterFunc(50*time.Millisecond, func() { close(read) })
			}
			require.NoError(t, stream.Send(&api.MyClientMessage{Sequence: i}))
		}
		for i := range int64(messages) {
			require.Equal(t, i, testkit.Soon(t, received, "message"))
		}
		require.NoError(t, stream.Close(nil))
	})
}

func TestDefect21_VanishedStreamPeer(t *testing.T) {
	t.Parallel()
	keepalive := dynamic.WithKeepalive(100 * time.Millisecond)
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		ended := make(chan error, 1)
		link := bustest.NewFaultBus(network.Connect(t), 1, bustest.Faults{})
		testkit.Serve(t, link, dynamic.Handlers{
			"ExchangeUpdates": dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
				<-stream.Context().Done()
				ended <- stream.Err()
				return nil
			}),
		}, keepalive)
		conn := testkit.Conn(t, network.Connect(t), keepalive)
		stream, err := testkit.Streamer(t, conn).OpenStream(t.Context(), patient)
		require.NoError(t, err)
		link.Cut() // from now on, neither side receives frames from the other
		testkit.Soon(t, stream.Context().Done(), "the client notices")
		require.ErrorIs(t, stream.Err(), dynamic.ErrKeepaliveTimeout)
		assert.ErrorIs(t, testkit.Soon(t, ended, "the server notices"), dynamic.ErrKeepaliveTimeout)
	})
}
