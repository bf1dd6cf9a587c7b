package resp_test

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// replies contains all kinds of replies to the commands of the bus.
var replies = map[string]struct {
	reply int64
	err   error
}{
	"+OK\r\n":                        {},
	"+PONG\r\n":                      {},
	":0\r\n":                         {},
	":42\r\n":                        {reply: 42},
	":-7\r\n":                        {reply: -7},
	"$-1\r\n":                        {err: redis.Nil},
	"-MOVED 3999 127.0.0.1:6381\r\n": {err: resp.Error("MOVED 3999 127.0.0.1:6381")},
	"-ERR \r\n":                      {err: resp.Error("ERR ")},
	"*2\r\n$1\r\nc\r\n:7\r\n":        {reply: 7},
	"*2\r\n$0\r\n\r\n:0\r\n":         {},
	"*2\r\n$4\r\n\r\n:5\r\n:1\r\n":   {reply: 1},
	":" + strconv.FormatInt(math.MaxInt64, 10) + "\r\n": {reply: math.MaxInt64},
	":" + strconv.FormatInt(math.MinInt64, 10) + "\r\n": {reply: math.MinInt64},
}

// Each reply must be read completely, so that the next one is read from its beginning.
func TestReadReply_EachKindTwice(t *testing.T) {
	t.Parallel()
	for text, want := range replies {
		r := newReader(text + text)
		for range 2 {
			reply, err := resp.ReadReply(r)
			require.Equal(t, want.err, err, "%q", text)
			require.Equal(t, want.reply, reply, "%q", text)
			require.Equal(t, want.err != nil, resp.IsError(err), "%q", text)
		}
		_, err := resp.ReadReply(r)
		require.ErrorIs(t, err, io.EOF, "%q", text)
		require.False(t, resp.IsError(err), "%q", text)
	}
}

// A connection can break after any byte. The error must then never look like a reply.
func TestReadReply_BreaksAfterAnyByte(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	for text := range replies {
		for n := range len(text) {
			for _, cause := range []error{io.EOF, broken} {
				r := bufio.NewReader(io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(cause)))
				_, err := resp.ReadReply(r)
				require.Error(t, err, "%q", text[:n])
				require.False(t, resp.IsError(err), "%q", text[:n])
				if errors.Is(cause, broken) {
					require.ErrorIs(t, err, broken, "%q", text[:n])
				}
			}
		}
	}
}

func TestReadReply_InvalidInput(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"\n", "\r\n", "+\n", "+OK\n", "OK\r\n", ":x\r\n", ":\r\n", ":1.5\r\n", ":99999999999999999999\r\n",
		"$2\r\nab\r\n", "$0\r\n\r\n", "$-2\r\n", "*-1\r\n", "*0\r\n", "*1\r\n:1\r\n", "*3\r\n$1\r\nc\r\n:1\r\n:2\r\n",
		"*2\r\n:1\r\n:2\r\n", "*2\r\n$1\r\nc\r\n$1\r\n5\r\n", "*2\r\n$1\r\nc\r\n:x\r\n", "*2\r\n$1\r\nc\r\n-ERR no\r\n",
		"*2\r\n$-1\r\n:1\r\n", "*2\r\n$9999999999\r\n", "%1\r\n+a\r\n:1\r\n", "_\r\n", "#t\r\n", ">2\r\n",
	} {
		_, err := resp.ReadReply(newReader(text))
		require.Error(t, err, "%q", text)
		assert.False(t, resp.IsError(err), "%q", text)
		require.NotErrorIs(t, err, io.EOF, "%q", text)
	}
}

// The text of an error reply can be long, but a line without an end must not be read forever.
func TestReadReply_LimitsLines(t *testing.T) {
	t.Parallel()
	const size = 1 << 10
	text := "ERR " + strings.Repeat("x", size/2)
	_, err := resp.ReadReply(bufio.NewReaderSize(strings.NewReader("-"+text+"\r\n"), size))
	require.Equal(t, resp.Error(text), err)
	endless := io.MultiReader(strings.NewReader("-"), strings.NewReader(strings.Repeat("x", 10*size)))
	_, err = resp.ReadReply(bufio.NewReaderSize(endless, size))
	require.ErrorIs(t, err, bufio.ErrBufferFull)
	assert.False(t, resp.IsError(err))
}

// The text of an error reply must stay unchanged when further replies are read.
func TestReadReply_ErrorKeepsItsText(t *testing.T) {
	t.Parallel()
	r := bufio.NewReaderSize(strings.NewReader("-ERR first\r\n"+strings.Repeat("+xxxxxxxxx\r\n", 100)), 16)
	_, refused := resp.ReadReply(r)
	for range 100 {
		_, err := resp.ReadReply(r)
		require.NoError(t, err)
	}
	assert.Equal(t, resp.Error("ERR first"), refused)
}

//nolint:paralleltest // testing.AllocsPerRun counts the allocations of all goroutines
func TestReadReply_AllocatesNothing(t *testing.T) {
	const runs = 100
	r := newReader(strings.Repeat(":42\r\n+OK\r\n", 2*runs))
	assert.Zero(t, testing.AllocsPerRun(runs, func() {
		_, _ = resp.ReadReply(r)
		_, _ = resp.ReadReply(r)
	}))
}
