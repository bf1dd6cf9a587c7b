package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// block returns the first code block of a language, and the number of its last line.
func block(t *testing.T, readme, language string) (code string, lastLine int) {
	t.Helper()
	at := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatchIndex(readme)
	require.NotNil(t, at, "the README has no %s", language)
	for _, r := range readme[:at[3]] {
		if r == '\n' {
			lastLine++
		}
	}
	return readme[at[2]:at[3]], lastLine
}

func TestREADME_ProgramRuns(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	proto, _ := block(t, string(readme), "proto")
	program, lastLine := block(t, string(readme), "go")
	assert.Less(t, lastLine, 60, "a reader should see a complete program early")

	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "greeter.proto"), []byte(proto), 0o600))
	source := filepath.Join(folder, "main.go")
	require.NoError(t, os.WriteFile(source, []byte(program), 0o600))

	binary := filepath.Join(folder, "greeter")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source)
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	run := exec.CommandContext(t.Context(), binary)
	run.Dir = folder
	output, err = run.CombinedOutput()
	require.NoError(t, err, "%s", output)
	assert.Equal(t, "Hello, Ada\n", string(output))
}
