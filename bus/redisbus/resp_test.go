package redisbus

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newReader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

func TestWriteCommand_LengthsAreBytes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	writeCommand(w, "publish", "ä", "")
	require.NoError(t, w.Flush())
	assert.Equal(t, "*3\r\n$7\r\npublish\r\n$2\r\nä\r\n$0\r\n\r\n", out.String())
}

func TestReadReply_Kinds(t *testing.T) {
	t.Parallel()
	r := newReader("+OK\r\n:42\r\n$-1\r\n-MOVED 3999 127.0.0.1:6381\r\n" +
		"*2\r\n$1\r\nc\r\n:7\r\n*2\r\n$1\r\nc\r\n$1\r\nx\r\n$2\r\nab\r\n")
	number, err := readReply(r)
	require.NoError(t, err)
	assert.Zero(t, number)
	number, err = readReply(r)
	require.NoError(t, err)
	assert.EqualValues(t, 42, number)
	_, err = readReply(r)
	require.ErrorIs(t, err, redis.Nil)
	assert.True(t, isRedisError(err))
	_, err = readReply(r)
	assert.True(t, isRedisError(err))
	assert.True(t, isTransient(err))
	number, err = readReply(r)
	require.NoError(t, err)
	assert.EqualValues(t, 7, number)
	_, err = readReply(r)
	require.Error(t, err, "the reply to PUBSUB NUMSUB contains a number")
	_, err = r.ReadString('\n') // skip the rest of that reply
	require.NoError(t, err)
	_, err = readReply(r)
	require.Error(t, err, "no command of the bus is answered with a string")
	assert.False(t, isRedisError(err))
}

func TestReadPush_Kinds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("c", 100)
	r := newReader("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" +
		"*3\r\n$7\r\nmessage\r\n$100\r\n" + long + "\r\n$3\r\n\r\n\x00\r\n" +
		"*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$0\r\n\r\n" +
		"+PONG\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n" +
		"-NOPERM no\r\n")
	var names [16]byte
	for _, want := range []push{
		{kind: "subscribe", channel: []byte("c")},
		{kind: "message", channel: []byte(long), message: []byte("\r\n\x00")},
		{kind: "smessage", channel: []byte("c")},
		{kind: "pong"}, // the form of the reply on a connection without subscriptions
		{kind: "pong"},
	} {
		got, err := readPush(r, names[:])
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := readPush(r, names[:])
	assert.True(t, isRedisError(err))
	assert.True(t, hasCode(err, "NOPERM"))
	_, err = readPush(r, names[:])
	require.ErrorIs(t, err, io.EOF)
}

func TestReadPush_InvalidInput(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"\n", "*3\n", "+OK\r\n", "*2\r\n$4\r\npong\r\n", "*2\r\n$4\r\nping\r\n$0\r\n\r\n", "*3\r\n$5\r\nother\r\n$1\r\nc\r\n:1\r\n",
		"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\nx\r\n", "*3\r\n$7\r\nmessage\r\n$-1\r\n",
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$999999999999\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$x\r\n",
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nshort", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx??",
	} {
		_, err := readPush(newReader(text), nil)
		require.Error(t, err, "%q", text)
		assert.False(t, isRedisError(err), "%q", text)
	}
}

// FuzzReadPush checks that the readers do not panic on any input. It also checks that a message is
// decoded to the same channel and content that were encoded.
func FuzzReadPush(f *testing.F) {
	f.Add("c", "hello", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
	f.Add("", "\r\n", "-NOPERM no\r\n")
	f.Add("channel", "", ":1\r\n$-1\r\n")
	f.Fuzz(func(t *testing.T, channel, message, then string) {
		var sent bytes.Buffer
		w := bufio.NewWriter(&sent)
		// A command and a pub/sub message have the same encoding.
		writeCommand(w, "message", channel, message)
		require.NoError(t, w.Flush())
		r := bufio.NewReader(io.MultiReader(&sent, strings.NewReader(then)))
		var names [16]byte
		got, err := readPush(r, names[:])
		require.NoError(t, err)
		assert.Equal(t, channel, string(got.channel))
		assert.Equal(t, message, string(got.message))
		for err == nil || isRedisError(err) {
			_, err = readPush(r, names[:])
		}
		for r, err = newReader(then), nil; err == nil || isRedisError(err); {
			_, err = readReply(r)
		}
	})
}
