package redisbus

import (
	"bufio"
	"context"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// bufferSize is that of a connection's buffers. What is larger goes past them.
const bufferSize = 64 << 10

// socket is a connection that go-redis has made, with all that its options say, and that then is the bus's alone: commands
// are written while others wait for their replies, which a pipeline of go-redis does not do, and a message costs no
// more than its bytes. It speaks RESP2.
type socket struct {
	net.Conn
	client *redis.Client // closes it
	reader *bufio.Reader
	writer *bufio.Writer

	beforeRead func()       // called when all that has come has been read
	onDeadline func() error // called when the read deadline has passed. If it fails so does the Read
}

// dialSocket connects to node. Redis has answered there.
func dialSocket(ctx context.Context, node *redis.Client) (*socket, error) {
	options := *node.Options()
	options.Protocol = 2                                                        // what is pushed has less in front, and no reply is more than a line
	options.PoolSize, options.MinIdleConns, options.PipelinePoolSize = 2, 0, -1 // as many errors make a pool try on
	options.ReadBufferSize, options.WriteBufferSize = 1<<10, 1<<10              // of little use to it
	options.MaxRetries, options.DialerRetries = -1, 1                           // a link tries again
	options.ContextTimeoutEnabled = true
	options.Limiter, options.PushNotificationProcessor = nil, nil
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	s := &socket{beforeRead: func() {}}
	dialer := options.Dialer
	options.Dialer = func(ctx context.Context, network, addr string) (dialed net.Conn, err error) {
		dialed, err = dialer(ctx, network, addr)
		s.Conn = dialed
		return dialed, err
	}
	s.client = redis.NewClient(&options)
	err := s.client.Conn().Ping(ctx).Err() // fails too while Redis is loading its data
	if err == nil {
		err = s.SetDeadline(time.Time{}) // go-redis has set one
	}
	if err != nil {
		_ = s.client.Close()
		return nil, err
	}
	s.reader, s.writer = bufio.NewReaderSize(s, bufferSize), bufio.NewWriterSize(s, bufferSize)
	return s, nil
}

// Close closes the connection.
func (s *socket) Close() error { return s.client.Close() }

// Read reads what comes.
func (s *socket) Read(p []byte) (int, error) {
	for {
		s.beforeRead()
		n, err := s.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := s.onDeadline(); err != nil {
			return 0, err
		}
	}
}

// interruptRead makes the Read that is under way, or the next one, find its deadline passed.
func (s *socket) interruptRead() { _ = s.SetReadDeadline(time.Now()) }
