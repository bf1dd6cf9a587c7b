//go:build !psrpc_oldest

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, testenv.Redis(t).URL()))
	assert.Equal(t, `psrpc calls: sold by dynpsrpc and psrpc; dynpsrpc quoted tea; heard tea
dynpsrpc calls: sold by dynpsrpc and psrpc; dynpsrpc quoted tea; heard tea
`, out.String())
}
