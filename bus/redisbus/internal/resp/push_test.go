package resp_test

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// pushes contains all kinds of pushes.
var pushes = map[string]resp.Push{
	"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n":                        {Kind: "subscribe", Channel: []byte("c")},
	"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n":                     {Kind: "unsubscribe", Channel: []byte("c")},
	"*3\r\n$10\r\nssubscribe\r\n$2\r\nab\r\n:12\r\n":                    {Kind: "ssubscribe", Channel: []byte("ab")},
	"*3\r\n$12\r\nsunsubscribe\r\n$0\r\n\r\n:0\r\n":                     {Kind: "sunsubscribe", Channel: []byte{}},
	"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\n\r\n\x00\r\n":              {Kind: "message", Channel: []byte("c"), Message: []byte("\r\n\x00")},
	"*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$0\r\n\r\n":                     {Kind: "smessage", Channel: []byte("c")},
	"*3\r\n$7\r\nmessage\r\n$20\r\naaaaaaaaaaaaaaaaaaaa\r\n$1\r\nx\r\n": {Kind: "message", Channel: []byte("aaaaaaaaaaaaaaaaaaaa"), Message: []byte("x")},
	"+PONG\r\n":                           {Kind: resp.Pong}, // the form of the reply on a connection without subscriptions
	"*2\r\n$4\r\npong\r\n$0\r\n\r\n":      {Kind: resp.Pong},
	"*2\r\n$4\r\npong\r\n$5\r\nhello\r\n": {Kind: resp.Pong},
}

// requirePush requires that the push is as expected. An empty slice equals nil.
func requirePush(t testing.TB, want, got resp.Push) {
	t.Helper()
	require.Equal(t, want.Kind, got.Kind)
	require.Equal(t, string(want.Channel), string(got.Channel))
	require.Equal(t, string(want.Message), string(got.Message))
	require.Equal(t, want.Kind == "message" || want.Kind == "smessage", got.IsMessage())
}

// The network may deliver the bytes of a push in parts of any size.
func TestReadPush_InAnyParts(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	var want []resp.Push
	for text, push := range pushes {
		all.WriteString(text)
		want = append(want, push)
	}
	for name, parts := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader,
		"with EOF": iotest.DataErrReader,
	} {
		r := bufio.NewReaderSize(parts(strings.NewReader(all.String())), 32)
		var names [16]byte
		for _, push := range want {
			got, err := resp.ReadPush(r, names[:])
			require.NoError(t, err, name)
			requirePush(t, push, got)
		}
		_, err := resp.ReadPush(r, names[:])
		require.ErrorIs(t, err, io.EOF, name)
	}
}

// A connection can break after any byte. The error must then never look like a reply.
func TestReadPush_BreaksAfterAnyByte(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	for text := range pushes {
		for n := range len(text) {
			r := bufio.NewReader(io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(broken)))
			_, err := resp.ReadPush(r, nil)
			require.ErrorIs(t, err, broken, "%q", text[:n])
			require.False(t, resp.IsError(err), "%q", text[:n])
		}
	}
}

// Redis refuses a SUBSCRIBE with an error reply. The pushes that follow must still be read.
func TestReadPush_Refused(t *testing.T) {
	t.Parallel()
	r := newReader("-NOPERM no\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n-MOVED 1 a:1\r\n+PONG\r\n")
	_, err := resp.ReadPush(r, nil)
	require.Equal(t, resp.Error("NOPERM no"), err)
	got, err := resp.ReadPush(r, nil)
	require.NoError(t, err)
	requirePush(t, resp.Push{Kind: "subscribe", Channel: []byte("c")}, got)
	_, err = resp.ReadPush(r, nil)
	require.True(t, resp.IsTransient(err))
	got, err = resp.ReadPush(r, nil)
	require.NoError(t, err)
	requirePush(t, resp.Push{Kind: resp.Pong}, got)
}

func TestReadPush_InvalidInput(t *testing.T) {
	t.Parallel()
	message := func(rest string) string { return "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n" + rest }
	for _, text := range []string{
		"\n", "*3\n", "+OK\r\n", ":1\r\n", "$-1\r\n", "*1\r\n", "*4\r\n", "*-1\r\n",
		"*2\r\n$4\r\nping\r\n$0\r\n\r\n", "*2\r\n:1\r\n", "*2\r\n$4\r\npong\r\n:1\r\n",
		"*3\r\n$5\r\nother\r\n$1\r\nc\r\n:1\r\n", "*3\r\n$8\r\npmessage\r\n$1\r\nc\r\n:1\r\n", "*3\r\n:7\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n",
		"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\nx\r\n", "*3\r\n$9\r\nsubscribe\r\n$-1\r\n:0\r\n",
		message("$-1\r\n"), message(":1\r\n"), message("$x\r\n"), message("$\r\n"), message("$1\r\nx??"), message("$1\r\nxy\r\n"),
		message("$1\r\nx\n"), message("$99999999999999999999\r\n"),
	} {
		_, err := resp.ReadPush(newReader(text), nil)
		require.Error(t, err, "%q", text)
		assert.False(t, resp.IsError(err), "%q", text)
	}
}

// A length above the limit of Redis must be an error before any memory is allocated for it.
func TestReadPush_LimitsLengths(t *testing.T) {
	t.Parallel()
	const limit = 512 << 20
	for _, field := range []string{"*3\r\n$", "*3\r\n$7\r\nmessage\r\n$", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$"} {
		_, err := resp.ReadPush(newReader(field+strconv.Itoa(limit+1)+"\r\n"), nil)
		require.ErrorContains(t, err, strconv.Itoa(limit+1))
		require.NotErrorIs(t, err, io.EOF)
	}
}

// Large frames bypass the buffer of the reader. Each frame must have memory of its own, because
// handlers keep frames while the next ones are read.
func TestReadPush_BigFramesKeepTheirContent(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20, 9 << 20}
	var encoded []io.Reader
	frame := func(size int) string { return strings.Repeat(string(rune('a'+size%26)), size) }
	for _, size := range sizes {
		encoded = append(encoded, strings.NewReader(encode(t, "message", "channel", frame(size))))
	}
	r := bufio.NewReader(io.MultiReader(encoded...))
	var names [16]byte
	var got [][]byte
	for range sizes {
		push, err := resp.ReadPush(r, names[:])
		require.NoError(t, err)
		require.Equal(t, "channel", string(push.Channel))
		got = append(got, push.Message)
	}
	for i, size := range sizes {
		require.Len(t, got[i], size)
		require.True(t, bytes.Equal(got[i], []byte(frame(size))), "frame of %d bytes", size)
	}
}

// A channel name that fits into the caller's buffer must be stored there, so that reading it
// allocates no memory.
func TestReadPush_UsesTheBufferForNames(t *testing.T) {
	t.Parallel()
	buffer := make([]byte, 16)
	for name, fits := range map[string]bool{"short": true, strings.Repeat("x", 16): true, strings.Repeat("x", 17): false} {
		push, err := resp.ReadPush(newReader(encode(t, "message", name, "frame")), buffer)
		require.NoError(t, err)
		require.Equal(t, name, string(push.Channel))
		assert.Equal(t, fits, &push.Channel[0] == &buffer[0], name)
	}
}

//nolint:paralleltest // testing.AllocsPerRun counts the allocations of all goroutines
func TestReadPush_AllocatesOnlyTheFrame(t *testing.T) {
	const runs = 100
	var names [16]byte
	r := newReader(strings.Repeat(encode(t, "message", "channel", strings.Repeat("x", 1000)), 2*runs))
	assert.InDelta(t, 1, testing.AllocsPerRun(runs, func() { _, _ = resp.ReadPush(r, names[:]) }), 0)
	r = newReader(strings.Repeat("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", 2*runs))
	assert.Zero(t, testing.AllocsPerRun(runs, func() { _, _ = resp.ReadPush(r, names[:]) }))
}
