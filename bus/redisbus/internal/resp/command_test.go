package resp_test

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// encode returns the encoding of a command.
func encode(t testing.TB, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	resp.WriteCommand(w, args...)
	require.NoError(t, w.Flush())
	return out.String()
}

func TestWriteCommand_LengthsAreBytes(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "*3\r\n$7\r\npublish\r\n$2\r\nä\r\n$0\r\n\r\n", encode(t, "publish", "ä", ""))
	assert.Equal(t, "*1\r\n$4\r\nping\r\n", encode(t, "ping"))
	assert.Equal(t, "*2\r\n$3\r\nset\r\n$6\r\n\r\n$5\r\n\r\n", encode(t, "set", "\r\n$5\r\n"), "an argument is not parsed")
}

// A header may begin in the last bytes of the writer's buffer, and an argument may be larger than
// the whole buffer. The encoding must not depend on the size of the buffer.
func TestWriteCommand_AnyBufferSize(t *testing.T) {
	t.Parallel()
	args := []string{"publish", "channel", strings.Repeat("x", 12345), ""}
	want := encode(t, args...)
	for size := 16; size < 64; size++ {
		var out bytes.Buffer
		w := bufio.NewWriterSize(&out, size)
		resp.WriteCommand(w, args...)
		require.NoError(t, w.Flush())
		require.Equal(t, want, out.String(), "buffer of %d bytes", size)
	}
}

type failingWriter struct{}

var errWrite = errors.New("the connection is closed")

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

// A failed write must not be noticed before Flush, and Flush must return its error.
func TestWriteCommand_FlushReturnsTheError(t *testing.T) {
	t.Parallel()
	w := bufio.NewWriter(failingWriter{})
	resp.WriteCommand(w, "publish", strings.Repeat("x", 10_000))
	resp.WriteCommand(w, "publish", "y")
	require.ErrorIs(t, w.Flush(), errWrite)
}

//nolint:paralleltest // testing.AllocsPerRun counts the allocations of all goroutines
func TestWriteCommand_AllocatesNothing(t *testing.T) {
	w := bufio.NewWriter(io.Discard)
	channel, frame := "channel", strings.Repeat("x", 100)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		resp.WriteCommand(w, "publish", channel, frame)
		_ = w.Flush()
	}))
}
