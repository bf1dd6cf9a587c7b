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
	assert.Equal(t, `A call with JSON:
200 OK
{"text":"one tea, thank you"}
A call that fails:
404 Not Found
{"code":"not_found","message":"there is no unicorn"}
A multi call:
200 OK
{"message":{"text":"7 in stock"}}
{"message":{"text":"7 in stock"}}
`, out.String())
}
