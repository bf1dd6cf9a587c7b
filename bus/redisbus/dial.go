package redisbus

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"
)

// defaultDialTimeout is the default of go-redis for the parameter dial_timeout.
const defaultDialTimeout = 5 * time.Second

// dialFunc opens a connection to Redis.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// newDialer returns the dialer of a client that a driver creates. Unlike go-redis' own dialer, it
// also stops if its context ends during a TLS handshake. Its errors are of type dialerError.
// timeout is the parameter dial_timeout. config is nil if the connection is not encrypted.
func newDialer(timeout time.Duration, config *tls.Config) dialFunc {
	dialer := &net.Dialer{Timeout: max(cmp.Or(timeout, defaultDialTimeout), 0)}
	dial := dialer.DialContext
	if config != nil {
		dial = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, dialerError{err}
		}
		return conn, nil
	}
}
