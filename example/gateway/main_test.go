package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 10)
	assert.Equal(t, []string{
		"A call with JSON:", "200 OK", `{"text":"2 of tea, thank you"}`,
		"A call that fails:", "404 Not Found", `{"code":"not_found","message":"there is no unicorn"}`,
		"A multi call:", "200 OK",
	}, lines[:8])
	assert.ElementsMatch(t, []string{
		`{"message":{"text":"7 in stock"},"server":"SRV_eu"}`, `{"message":{"text":"7 in stock"},"server":"SRV_us"}`,
	}, lines[8:])
}
