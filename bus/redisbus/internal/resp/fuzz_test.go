package resp_test

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

// FuzzReadPush checks that a message is decoded to the same channel and content that were encoded.
// It also checks that ReadPush does not panic on any input that follows, and that its results do
// not depend on how the input is split into parts.
func FuzzReadPush(f *testing.F) {
	f.Add("c", "hello", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
	f.Add("", "\r\n", "-NOPERM no\r\n")
	f.Add("channel", "", "+PONG\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n")
	f.Fuzz(func(t *testing.T, channel, message, then string) {
		// A command and a pub/sub message have the same encoding.
		sent := encode(t, "message", channel, message) + then
		whole := bufio.NewReader(strings.NewReader(sent))
		bytes := bufio.NewReader(iotest.OneByteReader(strings.NewReader(sent)))
		var names, otherNames [16]byte
		for first := true; ; first = false {
			got, err := resp.ReadPush(whole, names[:])
			other, otherErr := resp.ReadPush(bytes, otherNames[:])
			require.Equal(t, fmt.Sprint(err), fmt.Sprint(otherErr))
			if err == nil {
				requirePush(t, other, got)
			}
			if first {
				require.NoError(t, err)
				requirePush(t, resp.Push{Kind: "message", Channel: []byte(channel), Message: []byte(message)}, got)
			}
			if err != nil && !resp.IsError(err) {
				return
			}
		}
	})
}

// FuzzReadReply checks that a number and the text of an error are decoded to what was encoded. It
// also checks that ReadReply does not panic on any input that follows, and that its results do not
// depend on how the input is split into parts.
func FuzzReadReply(f *testing.F) {
	f.Add(int64(42), "ERR no", ":1\r\n$-1\r\n")
	f.Add(int64(-1), "", "*2\r\n$1\r\nc\r\n:7\r\n")
	f.Add(int64(0), "MOVED 1 a:1", "+OK\r\n")
	f.Fuzz(func(t *testing.T, number int64, text, then string) {
		text = strings.NewReplacer("\r", "", "\n", "").Replace(text)
		if len(text) > 1000 {
			return // a line must fit into the buffer of the reader
		}
		sent := fmt.Sprintf(":%d\r\n-%s\r\n%s", number, text, then)
		whole := bufio.NewReader(strings.NewReader(sent))
		bytes := bufio.NewReader(iotest.OneByteReader(strings.NewReader(sent)))
		for i := 0; ; i++ {
			got, err := resp.ReadReply(whole)
			other, otherErr := resp.ReadReply(bytes)
			require.Equal(t, fmt.Sprint(err), fmt.Sprint(otherErr))
			require.Equal(t, other, got)
			switch i {
			case 0:
				require.NoError(t, err)
				require.Equal(t, number, got)
			case 1:
				require.Equal(t, resp.Error(text), err)
			}
			if err != nil && !resp.IsError(err) {
				return
			}
		}
	})
}

// FuzzWriteCommand checks that a command has the format of RESP: the number of arguments, and each
// argument with its length.
func FuzzWriteCommand(f *testing.F) {
	f.Add("publish", "c", "hello", 16)
	f.Add("", "\r\n", "$1\r\n", 4096)
	f.Fuzz(func(t *testing.T, first, second, third string, size int) {
		var out strings.Builder
		w := bufio.NewWriterSize(&out, min(max(size, 16), 1<<20))
		resp.WriteCommand(w, first, second, third)
		require.NoError(t, w.Flush())
		rest := out.String()
		header := func(kind byte) int {
			line, after, found := strings.Cut(rest, "\r\n")
			require.True(t, found && line[0] == kind, "%q", rest)
			n, err := strconv.Atoi(line[1:])
			require.NoError(t, err)
			rest = after
			return n
		}
		require.Equal(t, 3, header('*'))
		for _, want := range []string{first, second, third} {
			require.Equal(t, len(want), header('$'))
			require.Equal(t, want+"\r\n", rest[:len(want)+len("\r\n")])
			rest = rest[len(want)+len("\r\n"):]
		}
		assert.Empty(t, rest)
	})
}
