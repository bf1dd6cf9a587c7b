package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func Example_main() {
	main()
	// Output:
	// answering NormalRPC
	// answering IntensiveRPC
	// answering GetStats
	// answering GetRegionStats
	// answering a message of ExchangeUpdates
	// received *api.MyUpdate, *api.MyUpdate, *api.MyUpdate
}

// TestRun_Lines counts the lines of the function run in its two versions, for psrpc and for
// dynpsrpc. The package comment contains both numbers, so they must be correct.
func TestRun_Lines(t *testing.T) {
	t.Parallel()
	with, before := runLines(t, "main.go"), runLines(t, "psrpc.txt")
	assert.Equal(t, []int{29, 26}, []int{with, before}, "the package comment in main.go has these numbers")
}

// runLines counts the lines of code of the function run in a file.
func runLines(t *testing.T, name string) (lines int) {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(content), "func run(ctx context.Context) {\n")
	require.True(t, ok)
	body, _, ok = strings.Cut(body, "\n}\n")
	require.True(t, ok)
	for line := range strings.Lines(body) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	return lines
}
