package resp

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Error is an error reply from Redis. It implements redis.Error, so callers can check for it as
// they would for an error returned by go-redis. The functions of this package also accept the error
// replies of go-redis.
type Error string

var _ redis.Error = Error("")

// Error returns the text of the reply. It begins with a code such as ERR or MOVED.
func (e Error) Error() string { return string(e) }

// RedisError implements redis.Error.
func (Error) RedisError() {}

// IsError reports whether err is an error reply or a nil reply from Redis, rather than a connection
// failure.
func IsError(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// ErrorText returns the text of the error reply in err, or "" if err does not contain one.
func ErrorText(err error) string {
	var reply redis.Error
	if errors.As(err, &reply) {
		return reply.Error()
	}
	return ""
}

// ErrorCode returns the code at the beginning of the error reply in err, such as MOVED. If err does
// not contain an error reply, it returns "".
func ErrorCode(err error) string {
	code, _, _ := strings.Cut(ErrorText(err), " ")
	return code
}

// HasCode reports whether err contains an error reply that begins with the given code.
func HasCode(err error, code string) bool { return ErrorCode(err) == code }

// IsTransient reports whether err is an error reply that a server of a cluster sends while the
// cluster changes. The same command will succeed later, possibly on another server.
func IsTransient(err error) bool {
	switch ErrorCode(err) {
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING":
		return true
	}
	return false
}
