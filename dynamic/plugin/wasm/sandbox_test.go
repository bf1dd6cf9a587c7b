package wasm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

func TestSandbox_NothingOfTheOutsideIsThere(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{})
	found, err := code.call(t.Context(), "Reach", "")
	require.NoError(t, err)
	assert.Empty(t, found)
}

func TestSandbox_RandomNumbersAreReal(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	seen := map[string]bool{}
	for range 3 { // the method Exit ends each instance, so that the next call uses a new one
		number, err := code.call(t.Context(), "Random", "")
		require.NoError(t, err)
		require.False(t, seen[number], "the same in another instance")
		seen[number] = true
		_, err = code.call(t.Context(), "Exit", "1")
		require.Error(t, err)
	}
}

func TestSandbox_LogIsThatOfTheHost(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{})
	_, err := code.call(t.Context(), "Log", "hello\xff")
	require.NoError(t, err)
	for _, line := range []string{
		`level=WARN msg="by Log: hello` + "\uFFFD" + `" plugin=tested version=3`,
		`level=INFO msg="by Logger a=1 g.b=\"hello\\xff\"" plugin=tested`,
		`level=INFO msg="by stdout: hello` + "\uFFFD" + `" plugin=tested`,
		`level=WARN msg="by stderr: hello` + "\uFFFD" + `" plugin=tested`,
	} {
		assert.Contains(t, code.log.String(), line)
	}
}

func TestSandbox_LogIsBounded(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	_, err := code.call(t.Context(), "Log", strings.Repeat("x\n", 100_000))
	require.NoError(t, err)
	assert.Less(t, len(code.log.String()), 3*maxLogPerRequest)
	assert.Equal(t, 1, strings.Count(code.log.String(), "the rest is dropped"))
	_, err = code.call(t.Context(), "Log", "the next request")
	require.NoError(t, err)
	assert.Contains(t, code.log.String(), "by stderr: the next request")
}

// The report of a crash must be one message of limited size.
func TestSandbox_LogsACrashOnce(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1, Memory: 32 << 20})
	for _, method := range []string{"Throw", "Grow"} {
		before := len(code.log.String())
		_, err := code.call(t.Context(), method, "")
		require.Error(t, err)
		logged := code.log.String()[before:]
		assert.Equal(t, 1, strings.Count(logged, "level=WARN"), logged)
		assert.Contains(t, logged, "goroutine ")
		assert.Equal(t, 1, strings.Count(logged, "plugin instance discarded"), logged)
		assert.Less(t, len(logged), 2*maxLineLength)
	}
}

func TestLineWriter_CutsLongLines(t *testing.T) {
	t.Parallel()
	log := &logText{}
	journal := &guestLog{logger: log.logger()}
	journal.reset(t.Context())
	writer := &lineWriter{log: journal, write: journal.writeInfo}
	for _, output := range []string{"one\ntwo", " and\r\n\n", strings.Repeat("x", maxLineLength+1), "\nleft"} {
		n, err := writer.Write([]byte(output))
		require.NoError(t, err)
		require.Equal(t, len(output), n)
	}
	var lines []string
	for line := range strings.Lines(log.String()) {
		_, message, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		lines = append(lines, message)
	}
	assert.Equal(t, []string{"one", `"two and"`, strings.Repeat("x", maxLineLength), "x"}, lines)
}
