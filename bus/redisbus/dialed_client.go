package redisbus

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

// dialedClient is a go-redis client with a single connection.
type dialedClient struct {
	client *redis.Client
	// conn sends commands on the connection. It is not embedded, because the compiler would take
	// seconds to create its 500 methods for dialedClient and inspectedNode.
	conn *redis.Conn
	// network is the underlying network connection.
	network net.Conn
}

// dialClient connects to node with the options of node, such as TLS and credentials. It waits for
// the reply to a PING, so that it can return errors from the handshake. If credentials is not nil,
// it replaces the StreamingCredentialsProvider of node.
func dialClient(ctx context.Context, node *redis.Client, credentials *credentials) (*dialedClient, error) {
	options := *node.Options()
	if credentials != nil {
		options.StreamingCredentialsProvider, options.CredentialsProviderContext = nil, credentials.get
	}
	// Package resp parses replies and pushes of RESP2 only.
	options.Protocol = 2
	// Once the number of failed dials has reached the size of the pool, go-redis starts a goroutine
	// that keeps dialing. This client dials only once, so a pool of two prevents that.
	options.PoolSize, options.MinIdleConns, options.PipelinePoolSize = 2, 0, -1
	// A resp.Conn has buffers of its own. go-redis uses these small buffers for the handshake only.
	options.ReadBufferSize, options.WriteBufferSize = 1<<10, 1<<10
	// The supervisor retries, so go-redis must not.
	options.MaxRetries, options.DialerRetries = -1, 1
	options.ContextTimeoutEnabled = true
	options.Limiter, options.PushNotificationProcessor = nil, nil
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	// Call the dialer directly, because go-redis would write a line to stderr for each failed dial.
	network, err := options.Dialer(ctx, options.Network, options.Addr)
	if err != nil {
		return nil, err
	}
	options.Dialer = func(context.Context, string, string) (net.Conn, error) { return network, nil }
	c := &dialedClient{client: redis.NewClient(&options), network: network}
	c.conn = c.client.Conn()
	// The PING also fails while Redis is still loading its data.
	if err := c.conn.Ping(ctx).Err(); err != nil {
		c.close()
		return nil, withoutArguments(err)
	}
	return c, nil
}

// dialConn is like dialClient, but the bus reads and writes RESP on the connection itself. Closing
// the connection closes the client that has dialed it.
func dialConn(ctx context.Context, node *redis.Client, credentials *credentials) (*resp.Conn, error) {
	c, err := dialClient(ctx, node, credentials)
	if err != nil {
		return nil, err
	}
	// Clear the deadline that go-redis has set for the PING.
	if err := c.network.SetDeadline(time.Time{}); err != nil {
		c.close()
		return nil, err
	}
	return resp.NewConn(c.network, c.client.Close), nil
}

// close closes the connection and the client.
func (c *dialedClient) close() {
	// Ignore these errors, because the connection is no longer needed.
	_, _ = c.client.Close(), c.network.Close()
}
