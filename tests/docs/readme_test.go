package docs

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

// root is the root folder of the module.
const root = "../.."

// blocks returns the code blocks of README.md in the given language. It also returns the line
// number of the end of the first block.
func blocks(t *testing.T, readme, language string) (code []string, lastLine int) {
	t.Helper()
	fenced := regexp.MustCompile("(?s)```" + language + "\n(.*?)```")
	for _, at := range fenced.FindAllStringSubmatchIndex(readme, -1) {
		code = append(code, readme[at[2]:at[3]])
		if len(code) == 1 {
			lastLine = strings.Count(readme[:at[3]], "\n")
		}
	}
	require.NotEmpty(t, code, "README.md has no code block in %s", language)
	return code, lastLine
}

// blockWith returns the code block in the given language that contains text. There must be exactly
// one.
func blockWith(t *testing.T, language, text string) string {
	t.Helper()
	code, _ := blocks(t, read(t), language)
	code = slices.DeleteFunc(code, func(block string) bool { return !strings.Contains(block, text) })
	require.Len(t, code, 1, "README.md has one code block in %s with %q", language, text)
	return code[0]
}

func read(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	return string(readme)
}

// program returns the first Go code block of README.md, which is a complete program.
func program(t *testing.T) string {
	t.Helper()
	code, _ := blocks(t, read(t), "go")
	return code[0]
}

// replace replaces the first occurrence of each old text in source. Every old text must occur in
// source.
func replace(t *testing.T, source string, replacements map[string]string) string {
	t.Helper()
	for old, replacement := range replacements {
		require.Contains(t, source, old)
		source = strings.Replace(source, old, replacement, 1)
	}
	return source
}

// run builds a program and runs it in a folder that contains the .proto file from README.md. It
// returns the output of the program.
func run(t *testing.T, source string) (output string, err error) {
	t.Helper()
	proto, _ := blocks(t, read(t), "proto")
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "greeter.proto"), []byte(proto[0]), 0o600))
	file := filepath.Join(folder, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))

	binary := filepath.Join(folder, "greeter")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, file)
	printed, err := build.CombinedOutput()
	require.NoError(t, err, "%s", printed)

	command := exec.CommandContext(t.Context(), binary)
	command.Dir = folder
	printed, err = command.CombinedOutput()
	return string(printed), err
}

func requireRuns(t *testing.T, source string) {
	t.Helper()
	output, err := run(t, source)
	require.NoError(t, err, "%s", output)
	assert.Equal(t, "Hello, Ada\n", output)
	assert.Contains(t, read(t), "The program prints `Hello, Ada`.")
}

func TestREADME_ProgramRuns(t *testing.T) {
	t.Parallel()
	code, lastLine := blocks(t, read(t), "go")
	assert.Less(t, lastLine, 60, "a reader should see a complete program early")
	requireRuns(t, code[0])
}

// If the name of the service is misspelled, the program must fail with a clear error when it looks
// up the service.
func TestREADME_ProgramReportsMisspeltService(t *testing.T) {
	t.Parallel()
	output, err := run(t, replace(t, program(t), map[string]string{`reg.FindService("greeting.`: `reg.FindService("greting.`}))
	require.Error(t, err)
	assert.Contains(t, output, "service greting.Greeter is not registered; did you mean greeting.Greeter?")
}

func TestREADME_ProgramRunsWithInterceptors(t *testing.T) {
	t.Parallel()
	server, conn, found := strings.Cut(blockWith(t, "go", "interceptors."), "\tconn := ")
	require.True(t, found)
	requireRuns(t, replace(t, program(t), map[string]string{
		"\tserver := dynamic.NewServer(b)\n":        server,
		"\tconn := must(dynamic.NewConn(b, reg))\n": "\tconn := " + conn,
		"import (\n": `import (
	"log/slog"
	"time"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/breaker"
	"github.com/dynpsrpc/dynpsrpc/interceptors/limits"
`,
	})+`
var logger = slog.New(slog.DiscardHandler)

func verify(ctx context.Context, token string, _ dynamic.RPCInfo) (context.Context, error) {
	if token != "secret" {
		return nil, fmt.Errorf("unknown token")
	}
	return ctx, nil
}
`)
}

// The code fragments about compiled protos, moving from psrpc and plugins must compile when they
// are added to the program as functions. The program is compiled as a library, because nothing runs
// the functions, and the linker takes longer than the compiler.
func TestREADME_FragmentsCompile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fragments.go")
	source := replace(t, program(t), map[string]string{
		"package main": "package fragments",
		"import (\n": `import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
`,
	}) + `
func compiled(reg *registry.Registry, server *dynamic.Server, handlers dynamic.Handlers) {
` + blockWith(t, "go", "api.File_my_service_proto") + `
}

func migrated(ctx context.Context, server *dynamic.Server, service *registry.Service, impl any, conn *dynamic.Conn) {
` + blockWith(t, "go", "dynamic.HandlersOf") + `
}

func plugins(ctx context.Context, server *dynamic.Server) {
` + blockWith(t, "go", "plugin.NewHost") + `
}

var _, _, _, _ = main, compiled, migrated, plugins
`
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", file)
	printed, err := build.CombinedOutput()
	require.NoError(t, err, "%s", printed)
}

// README.md shows which two lines to change so that the program uses a broker. The changed program
// must work.
func TestREADME_ProgramRunsOverBroker(t *testing.T) {
	t.Parallel()
	for url, server := range map[string]string{
		"redis://127.0.0.1:6379": testenv.Redis(t).URL(),
		"nats://127.0.0.1:4222":  testenv.NATS(t).URL(),
	} {
		lines := strings.SplitAfter(blockWith(t, "go", url), "\n")
		require.Len(t, lines, 3, "two lines, and an empty rest after the last one")
		source := replace(t, program(t), map[string]string{
			"import (\n": "import (\n" + lines[0],
			"\tb := bus.NewLocal() // a bus inside this process\n": strings.Replace(lines[1], url, server, 1),
		})
		require.Contains(t, source, server)
		requireRuns(t, source)
	}
}
