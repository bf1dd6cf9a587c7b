package systemd

import (
	"context"
	"fmt"
	"net"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// These are the states that a service can report.
const (
	// Ready means that the service has started.
	Ready = "READY=1"
	// Stopping means that the service has begun to stop.
	Stopping = "STOPPING=1"
)

// Notify sends a state to systemd. socket is the value of the environment variable NOTIFY_SOCKET,
// which systemd sets for services with Type=notify. If socket is empty, Notify does nothing,
// because systemd has not started the process or does not wait for it.
func Notify(ctx context.Context, socket, state string) error {
	if socket == "" {
		return nil
	}
	// If the name of the socket begins with @, package net opens a socket in Linux's abstract
	// namespace, as systemd expects.
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", socket)
	if err != nil {
		return fmt.Errorf("systemd cannot be told %s: %w", state, err)
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}
