package natsbus

import (
	"context"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// dial connects to one of the servers in u, and gives up when ctx ends. It uses its own dialer,
// because nats.Connect does not accept a context. After dial has returned, the end of ctx has no
// effect. The returned function closes the connection and waits until nats.go has reported the
// closing. onReconnectError is called with the error of each failed attempt to reconnect.
func dial(
	ctx context.Context, u *url.URL, settings *settings, onReconnectError func(error),
) (*nats.Conn, func(), error) {
	connCtx, cancel := context.WithCancel(context.Background())
	detach := context.AfterFunc(ctx, cancel)
	closed := make(chan struct{})
	network := &dialer{ctx: connCtx, timeout: settings.connectTimeout}
	nc, err := nats.Connect(servers(u), slices.Concat(
		connOptions(settings.probeInterval),
		[]nats.Option{
			nats.Timeout(settings.connectTimeout),
			nats.SetCustomDialer(network),
			// The default handler prints to stderr.
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
			nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { onReconnectError(err) }),
			nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		},
		settings.conn,
	)...)
	beforeCtxEnd := detach()
	closeConn := func() {
		nc.Close()
		cancel()
		<-closed
	}
	switch {
	case err == nil && beforeCtxEnd:
		return nc, closeConn, nil
	case err == nil:
		closeConn()
		return nil, nil, ctx.Err()
	case !beforeCtxEnd:
		err = ctx.Err()
	case errors.Is(err, nats.ErrNoServers) && network.err != nil:
		err = network.err
	}
	cancel()
	return nil, nil, err
}

// connectAdvice returns advice on what to check after an attempt to connect has failed with cause.
// The advice begins with a colon, so that it can be appended to the text of an error. It is empty
// if there is nothing to advise.
func connectAdvice(cause error) string {
	var unknownAuthority x509.UnknownAuthorityError
	var unresponsive interface{ Timeout() bool }
	switch {
	case errors.Is(cause, nats.ErrAuthorization):
		return ": check the user name, the password, the token or the file with credentials"
	case errors.Is(cause, nats.ErrSecureConnWanted):
		return ": if the server does not use TLS, the scheme is nats instead of tls"
	case errors.As(cause, &unknownAuthority):
		return ": if the authority is a private one, set tls_ca to the file with its certificate"
	case errors.Is(cause, nats.ErrNoInfoReceived), errors.As(cause, &unresponsive) && unresponsive.Timeout():
		return ": check that this is the address of a NATS server"
	default:
		return ""
	}
}

// servers returns the hosts of u in the form that nats.Connect expects. It omits the credentials,
// because nats.go may include the URL in error messages.
func servers(u *url.URL) string {
	hosts := strings.Split(u.Host, ",")
	for i, host := range hosts {
		hosts[i] = u.Scheme + "://" + host
	}
	return strings.Join(hosts, ",")
}

// dialer opens network connections that are closed when ctx ends. As a result, Bus.Close does not
// wait for a reconnect attempt in progress.
type dialer struct {
	ctx     context.Context //nolint:containedctx // nats.CustomDialer has no context parameter
	timeout time.Duration
	// last is the connection that Dial has returned most recently, or nil.
	last net.Conn
	// err is the error that Dial has returned most recently, or nil. The error of nats.Connect does
	// not contain it.
	err error
}

// Dial implements nats.CustomDialer. It opens a connection to addr within the dialer's timeout.
// nats.go uses only one connection at a time. If a handshake fails during a reconnect, however,
// nats.go does not close the connection. Dial therefore closes the previous connection first.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	if d.last != nil {
		// The connection has usually been closed already.
		_ = d.last.Close()
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		d.err = err
		return nil, err
	}
	d.last = &trackedConn{Conn: c, release: context.AfterFunc(d.ctx, func() { _ = c.Close() })}
	return d.last, nil
}

// trackedConn is a network connection that is closed when its dialer's context ends.
type trackedConn struct {
	net.Conn

	// release stops watching the dialer's context.
	release func() bool
}

// Close closes the connection and stops watching the dialer's context.
func (c *trackedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
