package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun_PrintsServersAndDrains(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	assert.Equal(t, `The servers:
SRV_eu  shop 1.4.1  region eu  serving  health serving
SRV_us  shop 1.4.2  region us  serving  health serving
calls: 6 ok, 4 out_of_range, 10 durations measured

Server SRV_eu is drained:
its state is draining; everybody hears of a change: SRV_eu draining
without permission: only operators may drain
`, out.String())
}
