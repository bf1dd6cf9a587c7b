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

// maxBulk is the maximum length of a RESP string, in bytes.
const maxBulk = 512 << 20

// replyError is an error reply from Redis. It implements redis.Error, so callers can check for it
// as they would for an error returned by go-redis.
type replyError string

var _ redis.Error = replyError("")

func (e replyError) Error() string { return string(e) }

// RedisError implements redis.Error.
func (replyError) RedisError() {}

// isRedisError reports whether err is an error reply or a nil reply from Redis, rather than a
// connection failure.
func isRedisError(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// redisReply returns the text of the error reply in err, or "" if err does not contain one.
func redisReply(err error) string {
	var reply redis.Error
	if errors.As(err, &reply) {
		return reply.Error()
	}
	return ""
}

// replyCode returns the code at the beginning of the error reply in err, such as MOVED. If err does
// not contain an error reply, it returns "".
func replyCode(err error) string {
	code, _, _ := strings.Cut(redisReply(err), " ")
	return code
}

// hasCode reports whether err is an error reply that begins with the given code.
func hasCode(err error, code string) bool { return replyCode(err) == code }

// isTransient reports whether err is an error reply that a server of a cluster sends while the
// cluster changes. The same command will succeed later, possibly on another server.
func isTransient(err error) bool {
	switch replyCode(err) {
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING":
		return true
	}
	return false
}

// writeCommand writes a command as a RESP array of strings. Errors are reported by the writer's
// Flush method.
func writeCommand(w *bufio.Writer, args ...string) {
	writeHeader(w, '*', len(args))
	for _, arg := range args {
		writeHeader(w, '$', len(arg))
		_, _ = w.WriteString(arg)
		_, _ = w.WriteString("\r\n")
	}
}

// writeHeader writes the first line of an array or string, without allocating memory.
func writeHeader(w *bufio.Writer, kind byte, n int) {
	header := strconv.AppendInt(append(w.AvailableBuffer(), kind), int64(n), 10)
	_, _ = w.Write(append(header, '\r', '\n'))
}

// readLine reads a line. It returns the first byte, which identifies the kind of the RESP value,
// and the rest of the line without CRLF. The content slice is valid until the next read.
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

// unexpectedError returns the error for input that is not valid RESP or does not match any command
// sent by the bus.
func unexpectedError(input any) error { return fmt.Errorf("unexpected %q from redis", input) }

// readReply reads the reply to a command sent through a pipeline. It returns the value of an
// integer reply, zero for a simple string, redis.Nil for a nil reply, or another redis.Error for an
// error reply. Any other error means that the connection has failed. The reply to PUBSUB NUMSUB
// with one channel is an array of the channel's name and a number. readReply returns this number.
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

// push is a message that Redis sends on the pub/sub socket in RESP2. It contains a frame, confirms
// that a channel has been subscribed or unsubscribed, or is the reply to a PING.
type push struct {
	// kind is one of the strings in pushKinds, or pong.
	kind string
	// channel is the name of the channel. It is valid until the next read.
	channel []byte
	// message is the frame, or nil for a confirmation.
	message []byte
}

// isMessage reports whether the push contains a frame.
func (p push) isMessage() bool { return p.kind == "message" || p.kind == "smessage" }

// pushKinds contains all kinds of pushes. readPush returns one of these strings, which saves
// allocating a new one.
var pushKinds = [...]string{"message", "smessage", "subscribe", "unsubscribe", "ssubscribe", "sunsubscribe"}

// pong is the kind of the reply to a PING.
const pong = "pong"

// readPush reads a push. It stores the channel name in buffer if there is enough room. A frame
// always gets memory of its own, because receivers may keep it. If Redis has refused a command, the
// error is a redis.Error.
func readPush(r *bufio.Reader, buffer []byte) (push, error) {
	kind, content, err := readLine(r)
	switch {
	case err != nil:
		return push{}, err
	case kind == '-':
		return push{}, replyError(content)
	case kind == '+' && string(content) == "PONG":
		// Redis replies to PING in this form while no channel is subscribed.
		return push{kind: pong}, nil
	case kind == '*' && string(content) == "2":
		return readPong(r, buffer)
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

// readPong reads the rest of the reply to a PING on a connection that has subscribed to channels.
func readPong(r *bufio.Reader, buffer []byte) (push, error) {
	name, err := readBulk(r, buffer)
	if err != nil {
		return push{}, err
	}
	if string(name) != pong {
		return push{}, unexpectedError(name)
	}
	// Skip the argument of the PING, which is empty.
	_, err = readBulk(r, buffer)
	return push{kind: pong}, err
}

// readBulk reads a RESP string into buffer, or into newly allocated memory if buffer is too small.
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
