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

// bufferSize is the size of a socket's read buffer and of its write buffer, in bytes. Larger frames
// bypass the buffers.
const bufferSize = 64 << 10

// socket is a connection to Redis on which the bus reads and writes RESP2 itself. Commands can
// therefore be written while earlier ones wait for their replies, and receiving a frame allocates
// nothing but the frame (see [pipeline]). go-redis dials it, so all options of the client apply,
// such as TLS, credentials and a custom dialer.
type socket struct {
	net.Conn
	// client is the go-redis client for this connection only. Closing client closes the connection.
	client *redis.Client
	reader *bufio.Reader
	writer *bufio.Writer

	// beforeRead is called before each Read from the network. Such a Read is needed when reader's
	// buffer does not contain another complete reply or push.
	beforeRead func()
	// onDeadline is called when the read deadline has passed. If onDeadline returns nil, Read tries
	// again.
	onDeadline func() error
}

// dialSocket connects to node. It waits for the reply to a PING, so that it can return errors from
// the handshake. If credentials is not nil, it replaces the StreamingCredentialsProvider of node.
func dialSocket(ctx context.Context, node *redis.Client, credentials *credentials) (*socket, error) {
	c, err := dialClient(ctx, node, credentials)
	if err != nil {
		return nil, err
	}
	// Clear the deadline that go-redis has set for the PING.
	if err := c.network.SetDeadline(time.Time{}); err != nil {
		c.close()
		return nil, err
	}
	s := &socket{Conn: c.network, client: c.client, beforeRead: func() {}}
	s.reader, s.writer = bufio.NewReaderSize(s, bufferSize), bufio.NewWriterSize(s, bufferSize)
	return s, nil
}

// dialedClient is a go-redis client with a single connection.
type dialedClient struct {
	client *redis.Client
	// Conn sends commands on the connection.
	*redis.Conn
	// network is the connection itself.
	network net.Conn
}

// close closes the connection and the client.
func (c *dialedClient) close() {
	// Ignore these errors, because the connection is no longer needed.
	_, _ = c.client.Close(), c.network.Close()
}

// dialClient is like dialSocket, but the result sends commands through go-redis.
func dialClient(ctx context.Context, node *redis.Client, credentials *credentials) (*dialedClient, error) {
	options := *node.Options()
	if credentials != nil {
		options.StreamingCredentialsProvider, options.CredentialsProviderContext = nil, credentials.get
	}
	// The bus parses the replies itself and understands only RESP2; see readReply and readPush.
	options.Protocol = 2
	// When the number of failed dials reaches the pool size, go-redis starts a goroutine that keeps
	// dialing. This client dials only once, so a pool size of two is never reached.
	options.PoolSize, options.MinIdleConns, options.PipelinePoolSize = 2, 0, -1
	// A socket uses buffers of its own, and go-redis those for the handshake only.
	options.ReadBufferSize, options.WriteBufferSize = 1<<10, 1<<10
	// The supervisor retries, so go-redis must not.
	options.MaxRetries, options.DialerRetries = -1, 1
	options.ContextTimeoutEnabled = true
	options.Limiter, options.PushNotificationProcessor = nil, nil
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	// The bus dials instead of go-redis, which would write a line to stderr for each failed dial.
	network, err := options.Dialer(ctx, options.Network, options.Addr)
	if err != nil {
		return nil, err
	}
	options.Dialer = func(context.Context, string, string) (net.Conn, error) { return network, nil }
	c := &dialedClient{client: redis.NewClient(&options), network: network}
	c.Conn = c.client.Conn()
	// The PING also fails while Redis is still loading its data.
	if err := c.Ping(ctx).Err(); err != nil {
		c.close()
		return nil, withoutArguments(err)
	}
	return c, nil
}

// Close closes the connection and the go-redis client that dialed it.
func (s *socket) Close() error { return s.client.Close() }

// Read reads from the connection. It calls beforeRead before each attempt, and onDeadline whenever
// the read deadline has passed.
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

// interruptRead sets the read deadline to the current time. If a Read is in progress, that Read
// calls onDeadline at once. Otherwise the next Read does. onDeadline runs on the goroutine that
// called Read.
func (s *socket) interruptRead() { _ = s.SetReadDeadline(time.Now()) }
