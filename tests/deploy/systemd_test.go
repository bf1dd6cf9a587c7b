package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const unit = "systemd/psrpc-gateway.service"

// installUnit writes the unit to a new folder and returns its path. The written unit runs the
// program that the tests have built.
func installUnit(t *testing.T) (path string) {
	t.Helper()
	content := read(t, unit)
	installed := []byte("ExecStart=/usr/local/bin/psrpc ")
	require.Equal(t, 1, bytes.Count(content, installed))
	content = bytes.Replace(content, installed, []byte("ExecStart="+psrpc(t)+" "), 1)
	path = filepath.Join(t.TempDir(), filepath.Base(unit))
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestUnit_IsValid(t *testing.T) {
	t.Parallel()
	output := run(t, tool(t, "systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", installUnit(t))
	assert.Empty(t, output)
}

// The service must have a low exposure. systemd rates it on a scale from 0, for a service that can
// do nothing, to 100, for one that can do everything.
func TestUnit_IsHardened(t *testing.T) {
	t.Parallel()
	output := run(t, tool(t, "systemd-analyze"), "security", "--no-pager", "--offline=true", "--threshold=12", installUnit(t))
	t.Log(regexp.MustCompile(`Overall exposure level.*`).FindString(output))
}

// The flags in the comment of the unit must be flags of the program.
func TestUnit_ShowsFlagsOfTheProgram(t *testing.T) {
	t.Parallel()
	content := read(t, unit)
	flags := regexp.MustCompile(`(?m)^#\tPSRPC_GATEWAY_FLAGS=(.*)$`).FindSubmatch(content)
	require.NotNil(t, flags)
	args := append([]string{"gateway"}, regexp.MustCompile(`\s+`).Split(string(flags[1]), -1)...)
	output, err := exec.CommandContext(t.Context(), psrpc(t), append(args, "--help")...).CombinedOutput()
	require.NoError(t, err, "%s", output)
}
