package redisbus

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

// credentialsLogInterval is the minimum time between two log lines about a failing credentials
// provider.
const credentialsLogInterval = 5 * time.Second

// credentials holds the current credentials of a StreamingCredentialsProvider. The bus subscribes
// to the provider once, and each new connection gets the credentials that are current at that time.
// go-redis would instead subscribe once for each connection and send AUTH again whenever the
// credentials change. Redis does not accept AUTH on a connection that has subscribed to channels.
type credentials struct {
	logger *slog.Logger
	// unsubscribe ends the subscription to the provider.
	unsubscribe auth.UnsubscribeFunc
	failures    logthrottle.Throttle

	// mu guards current.
	mu      sync.Mutex
	current auth.Credentials
}

var _ auth.CredentialsListener = (*credentials)(nil)

// newCredentials subscribes to the StreamingCredentialsProvider of client. It returns nil if client
// has none.
func newCredentials(client redis.UniversalClient, logger *slog.Logger) (*credentials, error) {
	var provider auth.StreamingCredentialsProvider
	switch client := client.(type) {
	case *redis.Client:
		provider = client.Options().StreamingCredentialsProvider
	case *redis.ClusterClient:
		provider = client.Options().StreamingCredentialsProvider
	}
	if provider == nil {
		return nil, nil //nolint:nilnil // the options of the client contain the credentials
	}
	c := &credentials{logger: logger}
	initial, unsubscribe, err := provider.Subscribe(c)
	if err != nil {
		return nil, errors.NewErrorf(errors.Unavailable, "redis bus: cannot get credentials: %w", err)
	}
	c.unsubscribe = unsubscribe
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil { // OnNext may already have been called with newer credentials
		c.current = initial
	}
	return c, nil
}

// OnNext implements auth.CredentialsListener.
func (c *credentials) OnNext(next auth.Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = next
}

// OnError implements auth.CredentialsListener. The previous credentials stay in use, because Redis
// may still accept them.
func (c *credentials) OnError(err error) {
	if _, ok := c.failures.Allow(credentialsLogInterval); ok {
		c.logger.Warn("redis bus cannot renew its credentials", "error", err)
	}
}

// get returns the current credentials. It can serve as the CredentialsProviderContext of a client.
func (c *credentials) get(context.Context) (username, password string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return "", "", errors.NewErrorf(errors.Unavailable, "the credentials provider has no credentials")
	}
	username, password = c.current.BasicAuth()
	return username, password, nil
}

// close ends the subscription to the provider. c may be nil.
func (c *credentials) close() {
	if c != nil && c.unsubscribe != nil {
		// Ignore the error, because the bus needs no credentials any more.
		_ = c.unsubscribe()
	}
}
