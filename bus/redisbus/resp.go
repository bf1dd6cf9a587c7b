package redisbus

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxBulk is the maximum length of a string in RESP, in bytes.
const maxBulk = 512 << 20

// replyError is an error reply from Redis. It implements redis.Error, so that it can be tested for
// like an error of go-redis.
type replyError string

var _ redis.Error = replyError("")

func (e replyError) Error() string { return string(e) }

// RedisError implements redis.Error.
func (replyError) RedisError() {}

// isRedisError reports whether err is an error reply or a nil reply from Redis, rather than a
// failure of the connection.
func isRedisError(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// hasCode reports whether err is an error reply that begins with code.
func hasCode(err error, code string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), code+" ")
}

// isMoved reports whether err is the error reply of a cluster's node that does not have the slot of
// a key or channel.
func isMoved(err error) bool { return hasCode(err, "MOVED") }

// writeCommand writes a command as a RESP array of strings. Write errors are reported by the
// writer's Flush.
func writeCommand(w *bufio.Writer, args ...string) {
	writeHeader(w, '*', len(args))
	for _, arg := range args {
		writeHeader(w, '$', len(arg))
		_, _ = w.WriteString(arg)
		_, _ = w.WriteString("\r\n")
	}
}

// writeHeader writes the line that begins an array or a string, without allocating.
func writeHeader(w *bufio.Writer, kind byte, n int) {
	header := strconv.AppendInt(append(w.AvailableBuffer(), kind), int64(n), 10)
	_, _ = w.Write(append(header, '\r', '\n'))
}

// readLine reads a line and returns its first byte, which is the kind of the RESP value, and the
// rest without CRLF. The content is valid until the next read.
func readLine(r *bufio.Reader) (kind byte, content []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < len("+\r\n") || line[len(line)-2] != '\r' {
		return 0, nil, unexpectedError(line)
	}
	return line[0], line[1 : len(line)-2], nil
}

// unexpectedError is the error of input that is not valid RESP, or that answers no command of the
// bus.
func unexpectedError(what any) error { return fmt.Errorf("unexpected %q from redis", what) }

// readReply reads a reply of one line. No command of the bus has a longer reply. It returns the
// value of an integer reply, 0 for a simple string, redis.Nil for a nil reply, and another
// redis.Error for an error reply. Any other error means that the connection has failed.
func readReply(r *bufio.Reader) (int64, error) {
	kind, content, err := readLine(r)
	switch {
	case err != nil:
		return 0, err
	case kind == '+':
		return 0, nil
	case kind == '-':
		return 0, replyError(content)
	case kind == ':':
		return strconv.ParseInt(string(content), 10, 64)
	case kind == '$' && string(content) == "-1":
		return 0, redis.Nil
	}
	return 0, unexpectedError(content)
}

// push is a RESP2 pub/sub message: a frame, or the confirmation that a channel has been subscribed
// or unsubscribed.
type push struct {
	// kind is one of pushKinds.
	kind string
	// channel is valid until the next read.
	channel []byte
	// message is the frame. It is nil in confirmations.
	message []byte
}

// isMessage reports whether the push is a frame.
func (p push) isMessage() bool { return p.kind == "message" || p.kind == "smessage" }

// pushKinds has all kinds of pushes. readPush returns one of these strings instead of allocating
// one.
var pushKinds = [...]string{"message", "smessage", "subscribe", "unsubscribe", "ssubscribe", "sunsubscribe"}

// readPush reads a push. buffer is used for the name of the channel if it is long enough; the frame
// always gets its own memory, because receivers may keep it. The error is a redis.Error if Redis
// has refused a command.
func readPush(r *bufio.Reader, buffer []byte) (push, error) {
	kind, content, err := readLine(r)
	switch {
	case err != nil:
		return push{}, err
	case kind == '-':
		return push{}, replyError(content)
	case kind != '*' || string(content) != "3":
		return push{}, unexpectedError(content)
	}
	var p push
	name, err := readBulk(r, buffer)
	if err != nil {
		return push{}, err
	}
	for _, kind := range pushKinds {
		if string(name) == kind {
			p.kind = kind
		}
	}
	if p.kind == "" {
		return push{}, unexpectedError(name)
	}
	if p.channel, err = readBulk(r, buffer); err != nil {
		return push{}, err
	}
	if p.isMessage() {
		p.message, err = readBulk(r, nil)
		return p, err
	}
	if kind, content, err = readLine(r); err == nil && kind != ':' {
		err = unexpectedError(content)
	}
	return p, err
}

// readBulk reads a string into buffer, or into newly allocated memory if buffer is too small.
func readBulk(r *bufio.Reader, buffer []byte) ([]byte, error) {
	kind, content, err := readLine(r)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(string(content))
	if kind != '$' || err != nil || n < 0 || n > maxBulk {
		return nil, unexpectedError(content)
	}
	if n > cap(buffer) {
		buffer = make([]byte, n)
	}
	if _, err = io.ReadFull(r, buffer[:n]); err != nil {
		return nil, err
	}
	end, err := r.ReadSlice('\n')
	if err == nil && string(end) != "\r\n" {
		err = unexpectedError(end)
	}
	return buffer[:n], err
}
