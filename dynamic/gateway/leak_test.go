package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// openThings counts what streams use: goroutines, subscriptions on the bus, and file descriptors.
func (f *fixture) openThings(t assert.TestingT) (goroutines, subscriptions, descriptors int) {
	for presence, err := range f.bus.Scan(context.Background()) {
		assert.NoError(t, err)
		subscriptions += presence.Receivers
	}
	entries, _ := os.ReadDir("/proc/self/fd") // only Linux has it
	stacks := make([]byte, 64<<20)
	for stack := range bytes.SplitSeq(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
		if !bytes.Contains(stack, []byte("lifecycle.(*WorkerPool")) { // servers keep idle workers for later
			goroutines++
		}
	}
	return goroutines, subscriptions, len(entries)
}

// abort starts a stream of the n-th kind over the connection, and closes the connection without
// ending the stream.
func (f *fixture) abort(t *testing.T, conn net.Conn, n int) {
	t.Helper()
	defer conn.Close()
	request := subscribeRequest
	switch n % 4 {
	case 0:
		request = "POST /shop.Shop/Talk HTTP/1.1\r\nHost: shop\r\nAccept: application/x-ndjson\r\nContent-Length: 15\r\n\r\n{\"name\": \"one\"}"
	case 1:
		request = "POST /shop.Shop/Everyone HTTP/1.1\r\nHost: shop\r\nContent-Type: application/connect+json\r\nContent-Length: 1000\r\n\r\n\x00\x00"
	case 2:
		request = "GET /shop.Shop/Talk HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: psrpc.v1\r\n\r\n"
	}
	_, _ = io.WriteString(conn, request)
	if n%8 < 4 && n%4 != 1 { // the others leave before the gateway has answered
		_, _ = conn.Read(make([]byte, 10))
	}
}

// Streams that clients abandon must not leak resources, whatever the protocol.
func TestAbuse_AbortedStreamsLeakNothing(t *testing.T) { // not parallel, because it counts goroutines
	const overHTTP1, overHTTP2, atOnce = 9000, 1000, 20
	f := newFixture(t)
	grpcConn := f.grpcConn(t)
	response := dynamicpb.NewMessage(f.item("").Descriptor())
	require.NoError(t, grpcConn.Invoke(t.Context(), "/shop.Shop/Get", f.item("tea"), response))
	goroutines, subscriptions, descriptors := f.openThings(t)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for i := range overHTTP1 / atOnce {
				conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.server.Listener.Addr().String())
				if !assert.NoError(t, err) {
					return
				}
				f.abort(t, conn, i)
			}
			for i := range overHTTP2 / atOnce {
				ctx, cancel := context.WithCancel(t.Context())
				desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
				if stream, err := grpcConn.NewStream(ctx, desc, "/shop.Shop/Talk"); err == nil && i%2 == 0 {
					_ = stream.SendMsg(f.item("one"))
					_ = stream.RecvMsg(dynamicpb.NewMessage(response.Descriptor()))
				}
				cancel()
			}
		})
	}
	workers.Wait()
	assert.EventuallyWithT(t, func(t *assert.CollectT) {
		g, s, d := f.openThings(t)
		assert.LessOrEqual(t, g, goroutines+10, "goroutines")
		assert.LessOrEqual(t, s, subscriptions, "subscriptions")
		assert.LessOrEqual(t, d, descriptors+10, "file descriptors")
	}, time.Minute, 10*time.Millisecond)
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream").status, "no stream is counted any more")
}

// For clients that do not read large responses, the gateway must hold only a few copies of each,
// and none after they have left. TestAbuse_SlowReader checks that the gateway disconnects them.
func TestAbuse_LargeResponsesAreBounded(t *testing.T) { // not parallel, because it measures memory
	const clients, size = 4, gateway.DefaultMaxResponseBytes - 1000
	f := newFixture(t, gateway.WithWriteTimeout(0))
	heap := func() int {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc)
	}
	before := heap()
	body := fmt.Sprintf(`{"name": "size %d"}`, size)
	request := fmt.Sprintf("POST /shop.Shop/Get HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	var conns []net.Conn
	for range clients {
		conn := f.dialRaw(t, request)
		line, err := bufio.NewReaderSize(conn, 16).ReadString(' ')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 ", line)
		conns = append(conns, conn)
	}
	held := (heap() - before) / clients
	t.Logf("a response of %d bytes that is not read holds %d bytes", size, held)
	assert.Less(t, held, 3*size)
	for _, conn := range conns {
		_ = conn.Close()
	}
	assert.Eventually(t, func() bool { return heap() < before+size/2 }, time.Minute, 50*time.Millisecond)
	assert.Equal(t, http.StatusTooManyRequests, f.post(t, "/shop.Shop/Get", fmt.Sprintf(`{"name": "size %d"}`, 2*size)).status)
}
