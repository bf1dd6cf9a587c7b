package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlugins runs the program with go run, because a test binary cannot load shared objects that
// import the packages under test.
func TestPlugins(t *testing.T) {
	t.Parallel()
	// Building a host and six plugins takes a long time.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "run", ".")
	command.WaitDelay = time.Minute
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	require.NoError(t, command.Run(), "%s%s", &stdout, &stderr)
	assert.Equal(t, strings.TrimLeft(`
building two versions of each plugin
native: loaded, answered "version 1, loaded into the host: hello, Ada"
native: replaced during calls: no call failed, version 1 answered first and version 2 last
native: unloaded, a call fails with code unavailable
sandboxed: loaded, answered "version 1, in a sandbox: hello, Ada"
sandboxed: replaced during calls: no call failed, version 1 answered first and version 2 last
sandboxed: unloaded, a call fails with code unavailable
separate: loaded, answered "version 1, in a process of its own: hello, Ada"
separate: replaced during calls: no call failed, version 1 answered first and version 2 last
separate: unloaded, a call fails with code unavailable
`, "\n"), stdout.String())
}
