package arch

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const module = "github.com/dynpsrpc/dynpsrpc"

// goPackage is the part of the output of go list that the tests use.
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
}

// rel returns the path of the package relative to the module.
func (p goPackage) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// list runs go list at the root of the module.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json"}, args...)...)
	command.Dir = "../.."
	command.Stderr = os.Stderr
	output, err := command.Output()
	require.NoError(t, err)
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p goPackage
		err := decoder.Decode(&p) //nolint:musttag // fields have the names that go list prints
		if errors.Is(err, io.EOF) {
			require.NotEmpty(t, packages)
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// Package errors is a superset of the standard package, and replaces it everywhere, tests included.
func TestImports_OnlyErrorsUsesTheStandardErrors(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if p.rel() == "errors" {
			continue
		}
		for _, imports := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			assert.NotContains(t, imports, "errors",
				"package %s imports the standard errors package: import %s/errors instead", p.rel(), module)
		}
	}
}

// Every package has a package comment, in a file doc.go unless it is a program.
func TestPackages_AreDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		assert.NotEmpty(t, p.Doc, "package %s has no package comment", p.rel())
		if p.Name != "main" {
			assert.Contains(t, p.GoFiles, "doc.go", "the package comment of %s belongs in a file doc.go", p.rel())
		}
	}
}

// The module has no root package, and its top-level folders are few.
func TestRoot_HasNoGoFile(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	known := []string{"bus", "cmd", "dynamic", "errors", "example", "interceptors", "internal", "registry", "tests", "docs"}
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

// A program links the clients of brokers, the fast decoder and the dependencies of single
// interceptors only if it imports the packages that need them.
func TestPrograms_LinkOnlyWhatTheyUse(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "-deps", "./example/quickstart", "./interceptors") {
		for _, optional := range []string{
			"github.com/redis/", "github.com/nats-io/", "buf.build/", "github.com/prometheus/", "go.opentelemetry.io/",
			"github.com/sony/", "golang.org/x/time", "github.com/tetratelabs/",
		} {
			assert.False(t, strings.HasPrefix(p.ImportPath, optional), "example/quickstart or interceptors link the optional dependency %s", p.ImportPath)
		}
	}
}
