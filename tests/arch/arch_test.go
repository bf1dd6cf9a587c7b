package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const module = "github.com/dynpsrpc/dynpsrpc"

// goPackage describes a package. It contains only those fields of go list's output that the tests
// use.
type goPackage struct {
	ImportPath   string
	Name         string
	Dir          string
	Doc          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Export       string // the file with the types of the package; only with -export
	DepOnly      bool   // only with -deps
}

// rel returns the import path of the package relative to the module.
func (p goPackage) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// listed returns the packages of the module. All tests share one run of go list.
var listed = sync.OnceValues(func() ([]goPackage, error) { return run("./...") })

// all returns the packages of the module.
func all(t *testing.T) []goPackage {
	t.Helper()
	packages, err := listed()
	require.NoError(t, err)
	return packages
}

// list returns the packages that go list lists.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	packages, err := run(args...)
	require.NoError(t, err)
	return packages
}

// run runs go list in the root folder of the module. It returns at least one package, or an error.
func run(args ...string) (packages []goPackage, err error) {
	command := exec.CommandContext(context.Background(), "go", append([]string{"list", "-json"}, args...)...)
	command.Dir = "../.."
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p goPackage
		// The fields have the same names as in the output of go list.
		err := decoder.Decode(&p) //nolint:musttag
		switch {
		case errors.Is(err, io.EOF) && len(packages) > 0:
			return packages, nil
		case err != nil:
			return nil, err
		}
		packages = append(packages, p)
	}
}

// All packages must import this module's package errors instead of the standard package, because it
// contains everything that the standard package contains. This also applies to test files.
func TestImports_OnlyErrorsUsesTheStandardErrors(t *testing.T) {
	t.Parallel()
	for _, p := range all(t) {
		if p.rel() == "errors" {
			continue
		}
		for _, imports := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			assert.NotContains(t, imports, "errors",
				"package %s imports the standard errors package: import %s/errors instead", p.rel(), module)
		}
	}
}

// Every package must have a package comment. Unless the package is a program, the comment must be
// in the file doc.go.
func TestPackages_AreDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range all(t) {
		if len(p.GoFiles) == 0 {
			continue // a package that contains only tests
		}
		assert.NotEmpty(t, p.Doc, "package %s has no package comment", p.rel())
		if p.Name != "main" {
			assert.Contains(t, p.GoFiles, "doc.go", "the package comment of %s belongs in a file doc.go", p.rel())
		}
	}
}

// The root folder of the module must contain no Go files, and only the known folders.
func TestRoot_HasNoGoFile(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	known := []string{
		"bus", "cmd", "dynamic", "errors", "example", "interceptors", "internal", "registry", "tests", "docs", "deploy",
		"dist", // what make dist has written
	}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasPrefix(name, "."):
		case entry.IsDir():
			assert.Contains(t, known, name, "%s is a new top-level folder: add it here if it belongs there", name)
		default:
			assert.NotEqual(t, ".go", path.Ext(name), "%s is a Go file at the top level: the module has no root package", name)
		}
	}
}

// A program must link optional dependencies only if it imports a package that needs them. The
// optional dependencies are the client libraries of brokers, the fast protobuf decoder, and the
// dependencies of some interceptors, tap filters, the gateway and the command line.
func TestPrograms_LinkOnlyWhatTheyUse(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "-deps", "./example/quickstart", "./interceptors", "./dynamic/fleet") {
		for _, optional := range []string{
			"github.com/redis/", "github.com/nats-io/", "buf.build/", "github.com/prometheus/", "go.opentelemetry.io/",
			"github.com/sony/", "golang.org/x/time", "github.com/tetratelabs/",
			"github.com/spf13/", "github.com/jedib0t/", "charm.land/", "go.yaml.in/", "cel.dev/", "connectrpc.com/", "github.com/coder/",
		} {
			assert.False(t, strings.HasPrefix(p.ImportPath, optional),
				"example/quickstart, interceptors or dynamic/fleet link the optional dependency %s", p.ImportPath)
		}
	}
}

// Only programs that use HandlersOf may call reflect.Type.MethodByName through package dynamic. In
// a program that calls it, the linker keeps all exported methods, which adds a fifth to its size.
func TestPrograms_KeepMethodsOnlyForHandlersOf(t *testing.T) {
	t.Parallel()
	for program, uses := range map[string]bool{"quickstart": false, "migrated": true} {
		binary := path.Join(t.TempDir(), program)
		build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./example/"+program)
		build.Dir = "../.."
		output, err := build.CombinedOutput()
		require.NoError(t, err, "%s", output)
		// The file contains the names of all functions that the linker has kept.
		content, err := os.ReadFile(binary)
		require.NoError(t, err)
		assert.Equal(t, uses, bytes.Contains(content, []byte("dynamic.(*implementation).method")), program)
	}
}
