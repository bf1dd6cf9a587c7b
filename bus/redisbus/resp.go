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

// maxBulk is the longest string that Redis sends.
const maxBulk = 512 << 20

// replyError is an error that Redis answered.
type replyError string

var _ redis.Error = replyError("")

func (e replyError) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (replyError) RedisError() {}

// isRedisError says that Redis answered, though not with success.
func isRedisError(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// hasCode says that err is an answer that begins with code.
func hasCode(err error, code string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), code+" ")
}

// writeCommand writes a command. What fails shows when the writer is flushed.
func writeCommand(w *bufio.Writer, args ...string) {
	writeHeader(w, '*', len(args))
	for _, arg := range args {
		writeHeader(w, '$', len(arg))
		_, _ = w.WriteString(arg)
		_, _ = w.WriteString("\r\n")
	}
}

func writeHeader(w *bufio.Writer, kind byte, n int) {
	header := strconv.AppendInt(append(w.AvailableBuffer(), kind), int64(n), 10)
	_, _ = w.Write(append(header, '\r', '\n'))
}

// readLine reads a line, which is valid until the next read: its kind, and the rest without its end.
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

func unexpectedError(what any) error { return fmt.Errorf("unexpected %q from Redis", what) }

// readReply reads a reply of one line. It returns a number, 0 for a word; or redis.Nil, or another redis.Error. What
// else fails is the connection.
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

// push is what comes on a pub/sub connection: a message, or that a channel has been subscribed or unsubscribed.
type push struct {
	kind    string
	channel []byte // valid until the next read
	message []byte // nil unless kind is one of a message
}

// isMessage says that the push is a message.
func (p push) isMessage() bool { return p.kind == "message" || p.kind == "smessage" }

// pushKinds are all, so that none has to be allocated.
var pushKinds = [...]string{"message", "smessage", "subscribe", "unsubscribe", "ssubscribe", "sunsubscribe"}

// readPush reads a push. scratch is for the name of its channel. The error is a redis.Error if Redis refuses a command.
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

// readBulk reads a string into buffer, or into memory of its own if buffer is too small.
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
