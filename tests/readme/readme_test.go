package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// blocks returns the code blocks of a language. The first of them ends at lastLine.
func blocks(t *testing.T, readme, language string) (code []string, lastLine int) {
	t.Helper()
	fenced := regexp.MustCompile("(?s)```" + language + "\n(.*?)```")
	for _, at := range fenced.FindAllStringSubmatchIndex(readme, -1) {
		code = append(code, readme[at[2]:at[3]])
		if len(code) == 1 {
			lastLine = strings.Count(readme[:at[3]], "\n")
		}
	}
	require.NotEmpty(t, code, "the README has no %s", language)
	return code, lastLine
}

func read(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	return string(readme)
}

// requireRuns builds program, with the README's .proto beside it, and runs it.
func requireRuns(t *testing.T, program string) {
	t.Helper()
	proto, _ := blocks(t, read(t), "proto")
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "greeter.proto"), []byte(proto[0]), 0o600))
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

func TestREADME_ProgramRuns(t *testing.T) {
	t.Parallel()
	code, lastLine := blocks(t, read(t), "go")
	assert.Less(t, lastLine, 60, "a reader should see a complete program early")
	requireRuns(t, code[0])
}

// The program with interceptors runs, too.
func TestREADME_ProgramRunsWithInterceptors(t *testing.T) {
	t.Parallel()
	code, _ := blocks(t, read(t), "go")
	at := slices.IndexFunc(code, func(block string) bool { return strings.Contains(block, "interceptors.") })
	require.Positive(t, at, "the README does not show interceptors")
	server, conn, found := strings.Cut(code[at], "\tconn := ")
	require.True(t, found)
	program := code[0] + `
var logger = slog.New(slog.DiscardHandler)

func verify(ctx context.Context, token string, _ dynamic.RPCInfo) (context.Context, error) {
	if token != "secret" {
		return nil, fmt.Errorf("unknown token")
	}
	return ctx, nil
}
`
	for old, replacement := range map[string]string{
		"\tserver := dynamic.NewServer(b)\n":        server,
		"\tconn := must(dynamic.NewConn(b, reg))\n": "\tconn := " + conn,
		"import (\n": `import (
	"log/slog"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/breaker"
	"github.com/dynpsrpc/dynpsrpc/interceptors/limits"
`,
	} {
		require.Contains(t, program, old)
		program = strings.Replace(program, old, replacement, 1)
	}
	requireRuns(t, program)
}

// The program with two lines changed runs over a broker.
func TestREADME_ProgramRunsOverABroker(t *testing.T) {
	t.Parallel()
	code, _ := blocks(t, read(t), "go")
	for url, server := range map[string]string{
		"redis://127.0.0.1:6379": testenv.Redis(t).URL(),
		"nats://127.0.0.1:4222":  testenv.NATS(t).URL(),
	} {
		at := slices.IndexFunc(code, func(block string) bool { return strings.Contains(block, url) })
		require.Positive(t, at, "the README does not show %s", url)
		lines := strings.SplitAfter(code[at], "\n")
		require.Len(t, lines, 3, "two lines and what follows the last")
		program := strings.Replace(code[0], "import (\n", "import (\n"+lines[0], 1)
		program = strings.Replace(program, "\tb := bus.NewLocal()\n", strings.Replace(lines[1], url, server, 1), 1)
		require.Contains(t, program, server)
		requireRuns(t, program)
	}
}
