package redisbus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// connectError returns the error of an attempt to connect with the options of a client. The error
// contains the address and, if a mistake in the configuration is likely, says what to check.
func connectError(options *redis.Options, cause error) error {
	return errors.NewErrorf(errors.Unavailable, "redis bus: cannot connect to redis at %s: %w%s",
		addressOf(options), withoutArguments(cause), connectAdvice(cause, options.TLSConfig != nil))
}

// nodeError returns the error for the case that client could not find a server to connect to. If
// client is the client of a Cluster, the error contains the addresses of the Cluster.
func nodeError(client redis.UniversalClient, cause error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return errors.NewErrorf(errors.Unavailable, "redis bus: cannot find a node to connect to: %w", withoutArguments(cause))
	}
	options := cluster.Options()
	return errors.NewErrorf(errors.Unavailable, "redis bus: cannot find a node of the cluster at %s: %w%s",
		strings.Join(options.Addrs, ", "), withoutArguments(cause), connectAdvice(cause, options.TLSConfig != nil))
}

// addressOf returns the address to which a client with these options connects.
func addressOf(options *redis.Options) string {
	// go-redis sets this address if the sentinels know the address of the server.
	if options.Addr == "FailoverClient" {
		return "the address that the sentinels report"
	}
	return options.Addr
}

// connectAdvice returns advice on what to check after an attempt to connect has failed with cause.
// The advice begins with a colon, so that it can be appended to the text of an error. It is empty
// if there is nothing to advise. encrypted reports whether the connection uses TLS.
func connectAdvice(cause error, encrypted bool) string {
	advice := adviceFor(cause, encrypted)
	if advice == "" {
		return ""
	}
	return ": " + advice
}

func adviceFor(cause error, encrypted bool) string {
	var notTLS tls.RecordHeaderError
	var unknownAuthority x509.UnknownAuthorityError
	var unresponsive interface{ Timeout() bool }
	timedOut := errors.Is(cause, context.DeadlineExceeded) || errors.As(cause, &unresponsive) && unresponsive.Timeout()
	disconnected := errors.Is(cause, io.EOF) || errors.Is(cause, syscall.ECONNRESET) || errors.Is(cause, os.ErrClosed)
	switch {
	case strings.Contains(resp.ErrorText(cause), "cluster support disabled"):
		return "if the server is not part of a Cluster, the scheme is redis instead of redis-cluster"
	case resp.HasCode(cause, "NOAUTH"):
		return "the server requires a password"
	case resp.HasCode(cause, "WRONGPASS"):
		return "check the user name and the password"
	case strings.HasPrefix(cause.Error(), "redis: can't parse"), strings.HasPrefix(cause.Error(), "redis: invalid reply"):
		return "check that this is the address of a Redis server"
	case errors.As(cause, &unknownAuthority):
		return "if the authority is a private one, set tls_ca to the file with its certificate"
	case errors.As(cause, &notTLS), encrypted && timedOut:
		return "if the server does not use TLS, the scheme is redis instead of rediss"
	case disconnected && !encrypted:
		return "if the server uses TLS, the scheme is rediss instead of redis"
	case timedOut:
		return "check that this is the address of a Redis server"
	default:
		return ""
	}
}

// isLoginRefused reports whether err contains a reply with which Redis refuses the credentials.
func isLoginRefused(err error) bool {
	return resp.HasCode(err, "NOAUTH") || resp.HasCode(err, "WRONGPASS")
}
