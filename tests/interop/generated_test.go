//go:build !psrpc_oldest

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A single program can use psrpc and dynpsrpc together. The test builds a program that links both
// libraries, psrpc's package for the options, and code that psrpc's plugin has generated. The
// program serves and calls the service of example/migrated with each library and must print the
// same output for both. For psrpc, it runs the function run in psrpc.txt.
func TestLinked_GeneratedCode(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("protoc is not installed: no code can be generated")
	}
	const example = "../../example/migrated/"
	folder := newModule(t)
	requireCommand(t, ".", "go", "build", "-o", folder+"/tools/", "google.golang.org/protobuf/cmd/protoc-gen-go",
		"github.com/livekit/psrpc/protoc-gen-psrpc")
	mapping := "paths=source_relative,Mmy_service.proto=example.com/user/api"
	requireCommand(t, ".", "protoc", "--plugin="+folder+"/tools/protoc-gen-go", "--plugin="+folder+"/tools/protoc-gen-psrpc",
		"-I", example+"api", "-I", "../../registry/psrpcoptions",
		"--go_out="+folder+"/api", "--go_opt="+mapping, "--psrpc_out="+folder+"/api", "--psrpc_opt="+mapping, "my_service.proto")

	// The copies of main.go and service.go use the package generated above instead of the one in
	// example/migrated.
	imports := []string{"github.com/dynpsrpc/dynpsrpc/example/migrated/api", "example.com/user/api"}
	program := substitute(t, readFile(t, example+"main.go"), append(imports, "func main() {", "func runDynpsrpc() {")...)
	writeFile(t, folder+"/main.go", program)
	service := substitute(t, readFile(t, example+"service.go"), imports...)
	writeFile(t, folder+"/service.go", service)

	// The service for psrpc differs in two ways: psrpc has its own stream type, and psrpc v0.8 passes
	// a context to the affinity function.
	psrpcService := substitute(t, service, "myService", "psrpcService", "dynamic.ServerStream", "psrpc.ServerStream",
		"github.com/dynpsrpc/dynpsrpc/dynamic", "github.com/livekit/psrpc",
		"IntensiveRPCAffinity(*api.MyRequest)", "IntensiveRPCAffinity(context.Context, *api.MyRequest)")
	psrpcService, _, _ = strings.Cut(psrpcService, "func answer(")
	writeFile(t, folder+"/psrpc_service.go", psrpcService)
	run := substitute(t, readFile(t, example+"psrpc.txt"), "func run(", "func runPsrpc(", "myService", "psrpcService")
	writeFile(t, folder+"/psrpc.go", `package main

import (
	"context"
	"fmt"
	"time"

	"example.com/user/api"
	"github.com/livekit/psrpc"
	_ "github.com/livekit/psrpc/protoc-gen-psrpc/options"
)

func main() {
	runPsrpc(context.Background())
	fmt.Println("---")
	runDynpsrpc()
}

`+run)
	before, after, found := strings.Cut(requireCommand(t, folder, "go", "run", "-mod=mod", "."), "---\n")
	require.True(t, found)
	assert.Equal(t, before, after, "both libraries do the same")
	assert.Equal(t, 6, strings.Count(after, "\n"))
}

// newModule creates a module with the same dependencies as this one and returns its folder.
func newModule(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "api"), 0o700))
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	writeFile(t, folder+"/go.mod", substitute(t, readFile(t, "go.mod"),
		"module github.com/dynpsrpc/dynpsrpc/tests/interop\n", "module example.com/user\n", "=> ../..", "=> "+root))
	writeFile(t, folder+"/go.sum", readFile(t, "go.sum"))
	return folder
}

// substitute replaces parts of source. The other arguments are pairs of an old text and its
// replacement. Every old text must occur in source.
func substitute(t *testing.T, source string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, source, pairs[i])
		source = strings.ReplaceAll(source, pairs[i], pairs[i+1])
	}
	return source
}

func requireCommand(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = folder
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, args, output)
	return string(output)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}
