package resp

import (
	"bufio"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// ReadReply reads the reply to a command. It returns the value of an integer reply, zero for a
// simple string, redis.Nil for a nil reply, or an [Error] for an error reply. Any other error means
// that the connection has failed; see [IsError]. The reply to PUBSUB NUMSUB with one channel is an
// array of the channel's name and a number. ReadReply returns this number.
func ReadReply(r *bufio.Reader) (int64, error) {
	kind, content, err := readLine(r)
	switch {
	case err != nil:
		return 0, err
	case kind == '+':
		return 0, nil
	case kind == '-':
		return 0, Error(content)
	case kind == ':':
		return strconv.ParseInt(string(content), 10, 64)
	case kind == '$' && string(content) == "-1":
		return 0, redis.Nil
	case kind == '*' && string(content) == "2":
		if _, err = readBulk(r, nil); err != nil {
			return 0, err
		}
		if kind, content, err = readLine(r); err != nil {
			return 0, err
		}
		if kind == ':' {
			return strconv.ParseInt(string(content), 10, 64)
		}
	}
	return 0, unexpectedError(content)
}
