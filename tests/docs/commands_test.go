package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireCommand runs a shell command in a folder and returns its output. The command must succeed.
func requireCommand(t *testing.T, folder, line string, environment ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh", "-ec", line)
	command.Dir = folder
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, output)
	return string(output)
}

// commands splits a shell block into its commands. It also returns the comment that belongs to each
// command.
func commands(block string) (lines, comments []string) {
	for line := range strings.Lines(block) {
		command, comment, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); command != "" {
			lines, comments = append(lines, command), append(comments, "")
		}
		comments[len(comments)-1] += comment
	}
	return lines, comments
}

// README.md starts with two commands. The first one must print what README.md says. The second one
// is only checked with make -n, because it would run this test again.
func TestREADME_FirstCommands(t *testing.T) {
	t.Parallel()
	shell, lastLine := blocks(t, read(t), "sh")
	assert.Less(t, lastLine, 30, "a reader should see the commands first")
	lines, comments := commands(shell[0])
	require.Equal(t, []string{"go run ./example/quickstart", "make test"}, lines)

	output := requireCommand(t, root, lines[0])
	printed, _ := blocks(t, read(t), "text")
	assert.Equal(t, printed[0], output)
	quoted := regexp.MustCompile(`\.\.\. (.*) \.\.\.`).FindStringSubmatch(comments[0])
	require.Len(t, quoted, 2, "the comment of the first command quotes a line")
	assert.Contains(t, output, quoted[1]+"\n")
	assert.Contains(t, comments[0], "prints 5 lines")
	assert.Equal(t, 5, strings.Count(output, "\n"))

	assert.Contains(t, requireCommand(t, root, "make -n test"), " test ")
}

// Every example program listed in README.md must exist and have a test. That test runs the program.
func TestREADME_ExamplesExist(t *testing.T) {
	t.Parallel()
	examples := regexp.MustCompile(`go run \./(example/[a-z]+)`).FindAllStringSubmatch(read(t), -1)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		assert.FileExists(t, filepath.Join(root, example[1], "main.go"))
		assert.FileExists(t, filepath.Join(root, example[1], "main_test.go"))
	}
}

func TestREADME_LinksExist(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([\w./-]+\.\w+)\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(root, link[1]))
			assert.NoError(t, err, page)
		}
	}
}

// The protoc commands in README.md must generate Go code in a user's module. The test builds
// protoc-gen-go in the version that this module requires.
func TestREADME_ProtocCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("protoc is not installed: its commands in README.md are not tested")
	}
	tools := protocGenGo(t)
	folder := otherModule(t)
	source, err := os.ReadFile(filepath.Join(root, "example/compiled/api/my_service.proto"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "my_service.proto"), source, 0o600))

	lines, _ := commands(blockWith(t, "sh", "go install"))
	require.Len(t, lines, 4, "two installations, the folder of the options, protoc")
	requireCommand(t, folder, lines[2]+"\n"+lines[3], "PATH="+tools+":"+os.Getenv("PATH"))
	generated, err := os.ReadFile(filepath.Join(folder, "my_service.pb.go"))
	require.NoError(t, err)
	assert.Contains(t, string(generated), optionsImport)
}

// optionsImport is the import of the psrpc options in generated code.
const optionsImport = `_ "github.com/dynpsrpc/dynpsrpc/registry/psrpcoptions"`

// protocGenGo builds protoc-gen-go and returns its folder.
func protocGenGo(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	requireCommand(t, root, `go build -o "$TOOLS/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go`, "TOOLS="+folder)
	return folder
}

// otherModule returns the folder of a new module that requires this module. It uses a replace
// directive, so that no published version is needed.
func otherModule(t *testing.T) string {
	t.Helper()
	const module = "github.com/dynpsrpc/dynpsrpc"
	folder := t.TempDir()
	path, err := filepath.Abs(root)
	require.NoError(t, err)
	requirements, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	gomod := replace(t, string(requirements), map[string]string{"module " + module + "\n": "module example.com/user\n"}) +
		"\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + path + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(folder, "go.mod"), []byte(gomod), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "go.sum"), sums, 0o600))
	return folder
}
