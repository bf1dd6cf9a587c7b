//go:build !psrpc_oldest

package interop

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/migrating.md must name every exported name of psrpc.
func TestMigrating_HasEveryNameOfPsrpc(t *testing.T) {
	t.Parallel()
	document := readFile(t, "../../docs/migrating.md")
	exported := regexp.MustCompile(`(?m)^ *(?:func|type|var|const) ([A-Z][A-Za-z0-9]*)`)
	for _, name := range []string{
		"", "/pkg/client", "/pkg/server", "/pkg/bus", "/pkg/bus/bustest", "/pkg/bus/natsbus", "/pkg/bus/redisbus", "/pkg/info",
		"/pkg/metadata", "/pkg/middleware", "/pkg/rand", "/testutils", "/version",
	} {
		names := exported.FindAllStringSubmatch(requireCommand(t, ".", "go", "doc", "-short", "github.com/livekit/psrpc"+name), -1)
		require.NotEmpty(t, names, name)
		for _, match := range names {
			if match[1] == "File" { // a generated descriptor
				continue
			}
			assert.True(t, regexp.MustCompile(`\b`+match[1]+`\b`).MatchString(document), "psrpc%s: %s is missing", name, match[1])
		}
	}
}

// Each row about a name of psrpc in docs/migrating.md must name a test, and the test must exist.
func TestMigrating_RowsHaveTests(t *testing.T) {
	t.Parallel()
	document := readFile(t, "../../docs/migrating.md")
	_, names, found := strings.Cut(document, "## psrpc's names and ours")
	require.True(t, found)
	test := regexp.MustCompile("`((?:Test|Example)\\w+)`")
	declared := declaredTests(t)
	rows := 0
	for line := range strings.Lines(names) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| psrpc") {
			cells := strings.Split(line, "|")
			tests := test.FindAllStringSubmatch(cells[len(cells)-2], -1)
			assert.NotEmpty(t, tests, line)
			for _, match := range tests {
				assert.True(t, declared[match[1]], "%s does not exist", match[1])
			}
			rows++
		}
	}
	assert.Greater(t, rows, 50)
}

// declaredTests returns the names of all tests and examples of the repository.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Example)\w+)\(`)
	declared := make(map[string]bool)
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, match := range declaration.FindAllSubmatch(content, -1) {
			declared[string(match[1])] = true
		}
		return err
	}))
	return declared
}
