package deploy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lastCommit returns the commit that is checked out.
func lastCommit(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(run(t, "git", "-C", root, "rev-parse", "HEAD"))
}

// makeDist clones a commit into a new folder, runs make dist there, and returns the checksums by
// file.
func makeDist(t *testing.T, commit, folder string, environment []string, targets ...string) map[string]string {
	t.Helper()
	source, err := filepath.Abs(root)
	require.NoError(t, err)
	run(t, "git", "clone", "--quiet", "--no-checkout", source, folder)
	run(t, "git", "-C", folder, "checkout", "--quiet", "--detach", commit)
	dist := filepath.Join(t.TempDir(), "dist")
	args := []string{"--no-print-directory", "-C", folder, "dist", "DIST=" + dist}
	if len(targets) > 0 {
		args = append(args, "DIST_TARGETS="+strings.Join(targets, " "))
	}
	command := exec.CommandContext(t.Context(), "make", args...)
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	content, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	require.NoError(t, err)
	sums := map[string]string{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		sums[fields[1]] = fields[0]
	}
	return sums
}

// Two builds of the last commit with the same version of Go must yield the same binaries, even in
// another folder, with other settings, or with an empty build cache.
func TestDist_IsReproducible(t *testing.T) {
	t.Parallel()
	commit := lastCommit(t) // another commit may follow while the test runs
	first := makeDist(t, commit, filepath.Join(t.TempDir(), "first"), nil)
	for _, name := range []string{
		"psrpc-linux-amd64", "psrpc-linux-arm64", "psrpc-darwin-amd64", "psrpc-darwin-arm64",
		"psrpc-windows-amd64.exe", "psrpc-windows-arm64.exe", "psrpc-linux-amd64.modules.txt", "LICENSE",
	} {
		assert.Contains(t, first, name)
	}
	second := makeDist(t, commit, filepath.Join(t.TempDir(), "a", "folder", "elsewhere"), []string{"GOFLAGS=-trimpath=false", "GOAMD64=v3", "CGO_ENABLED=1"})
	assert.Equal(t, first, second)

	native := "linux/amd64"
	if runtime.GOARCH == "arm64" {
		native = "linux/arm64" // compiling for another processor shows the same, but is slower
	}
	cache := t.TempDir()
	third := makeDist(t, commit, filepath.Join(t.TempDir(), "third"), []string{"GOCACHE=" + cache}, native)
	for name, sum := range third {
		assert.Equal(t, first[name], sum, "%s, with an empty build cache", name)
	}
}

// The binary must print its commit. The file beside it must list the commit, the versions of the
// modules, and the build settings.
func TestDist_TellsItsParts(t *testing.T) {
	t.Parallel()
	commit := lastCommit(t)
	dist := filepath.Join(t.TempDir(), "dist")
	run(t, "make", "--no-print-directory", "-C", root, "dist", "DIST="+dist, "DIST_TARGETS="+runtime.GOOS+"/"+runtime.GOARCH)
	name := "psrpc-" + runtime.GOOS + "-" + runtime.GOARCH
	modules, err := os.ReadFile(filepath.Join(dist, name+".modules.txt"))
	require.NoError(t, err)
	for _, part := range []string{commit, "github.com/redis/go-redis/v9", "CGO_ENABLED=0", "-trimpath=true"} {
		assert.Contains(t, string(modules), part)
	}
	output, err := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(dist, name), "version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(output), commit[:7])
}
