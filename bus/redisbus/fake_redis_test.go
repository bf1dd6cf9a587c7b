package redisbus_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// fakeRedis is a minimal Redis server whose replies are chosen by the test.
type fakeRedis struct {
	listener net.Listener
	// reply writes the reply to a command. The name of the command is in lower case. If reply
	// returns false, the server replies as Redis does.
	reply func(w *bufio.Writer, command []string) bool

	mu sync.Mutex
	// connections contains all open connections. subscribers contains, for each channel, the
	// writers of the connections that have subscribed to it.
	connections []net.Conn
	subscribers map[string][]*bufio.Writer
}

// newFakeRedis starts a server. It returns the server and a client that is connected to it.
func newFakeRedis(t *testing.T, reply func(w *bufio.Writer, command []string) bool) (*fakeRedis, *redis.Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed when the test ends
	require.NoError(t, err)
	f := &fakeRedis{listener: listener, reply: reply, subscribers: map[string][]*bufio.Writer{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.connections = append(f.connections, conn)
			f.mu.Unlock()
			serving.Go(func() { f.serve(conn) })
		}
	})
	client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), Protocol: 2})
	t.Cleanup(func() {
		require.NoError(t, client.Close())
		require.NoError(t, listener.Close())
		f.closeConnections()
		serving.Wait()
	})
	return f, client
}

// closeConnections closes all open connections.
func (f *fakeRedis) closeConnections() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.connections {
		_ = conn.Close() // ignore the error, because the connection is no longer needed
	}
	f.connections, f.subscribers = nil, map[string][]*bufio.Writer{}
}

func (f *fakeRedis) serve(conn net.Conn) {
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	for {
		command, err := readFakeCommand(r)
		if err != nil {
			return
		}
		if !f.reply(w, command) {
			f.replyAsRedis(w, command)
		}
		f.mu.Lock() // another goroutine may be publishing to this connection
		err = w.Flush()
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func readFakeCommand(r *bufio.Reader) ([]string, error) {
	line := func() (int, error) {
		text, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(text[1:]))
	}
	n, err := line()
	var command []string
	for ; err == nil && n > 0; n-- {
		var size int
		if size, err = line(); err == nil {
			arg := make([]byte, size+len("\r\n"))
			_, err = io.ReadFull(r, arg)
			command = append(command, string(arg[:size]))
		}
	}
	if err != nil {
		return nil, err
	}
	command[0] = strings.ToLower(command[0])
	return command, nil
}

func (f *fakeRedis) replyAsRedis(w *bufio.Writer, command []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch command[0] {
	case "ping":
		fmt.Fprint(w, "+PONG\r\n")
	case "subscribe":
		for _, channel := range command[1:] {
			f.subscribers[channel] = append(f.subscribers[channel], w)
			confirmFake(w, command[0], channel)
		}
	case "unsubscribe":
		for _, channel := range command[1:] {
			confirmFake(w, command[0], channel)
		}
	case "publish":
		for _, subscriber := range f.subscribers[command[1]] {
			fmt.Fprintf(subscriber, "*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n",
				len(command[1]), command[1], len(command[2]), command[2])
			_ = subscriber.Flush() // ignore the error, because it ends the subscriber's connection
		}
		fmt.Fprintf(w, ":%d\r\n", len(f.subscribers[command[1]]))
	case "set":
		fmt.Fprint(w, "+OK\r\n")
	default:
		fmt.Fprintf(w, "-ERR unknown command '%s'\r\n", command[0])
	}
}

func confirmFake(w *bufio.Writer, command, channel string) {
	fmt.Fprintf(w, "*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:1\r\n", len(command), command, len(channel), channel)
}
