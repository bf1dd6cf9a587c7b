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

// bufferSize is the size of a socket's read and write buffers, in bytes. Larger frames bypass the
// buffers.
const bufferSize = 64 << 10

// socket is a connection to Redis that the bus alone uses. go-redis dials it, so that all options
// of the client apply: TLS, credentials, the database and a custom dialer. After that the bus reads
// and writes RESP2 on the net.Conn itself, for two reasons: commands can be written while earlier
// ones wait for their replies, and a received frame costs no allocation beyond its own bytes. The
// measurements are at [pipeline].
type socket struct {
	net.Conn
	// client is the go-redis client of this one connection. Closing it closes the connection.
	client *redis.Client
	reader *bufio.Reader
	writer *bufio.Writer

	// beforeRead is called before each Read from the network, that is, when reader has no complete
	// reply or push left.
	beforeRead func()
	// onDeadline is called when the read deadline has passed. The Read continues if it returns nil.
	onDeadline func() error
}

// dialSocket connects to node and waits for the reply to a PING, so that an error of the handshake
// is reported here.
func dialSocket(ctx context.Context, node *redis.Client) (*socket, error) {
	options := *node.Options()
	// RESP2 pushes have a shorter header than those of RESP3, and all replies are of one line.
	options.Protocol = 2
	// After as many failed dials as the pool has connections, go-redis starts a goroutine that
	// keeps dialing. There is one dial only, so a pool of two never does.
	options.PoolSize, options.MinIdleConns, options.PipelinePoolSize = 2, 0, -1
	// Only the handshake uses the buffers of go-redis.
	options.ReadBufferSize, options.WriteBufferSize = 1<<10, 1<<10
	// The supervisor retries.
	options.MaxRetries, options.DialerRetries = -1, 1
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
	err := s.client.Conn().Ping(ctx).Err() // also fails while Redis loads its data
	if err == nil {
		err = s.SetDeadline(time.Time{}) // go-redis has set a deadline
	}
	if err != nil {
		_ = s.client.Close()
		return nil, err
	}
	s.reader, s.writer = bufio.NewReaderSize(s, bufferSize), bufio.NewWriterSize(s, bufferSize)
	return s, nil
}

// Close closes the connection and the go-redis client that dialed it.
func (s *socket) Close() error { return s.client.Close() }

// Read reads from the connection. It calls beforeRead first, and onDeadline whenever the read
// deadline passes.
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

// interruptRead sets the read deadline to now: the current or next Read calls onDeadline on the
// reader's goroutine.
func (s *socket) interruptRead() { _ = s.SetReadDeadline(time.Now()) }
