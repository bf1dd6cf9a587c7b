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

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath   string
	Name         string
	Dir          string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// rel is the package's path inside the module.
func (p goPackage) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

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
		err := decoder.Decode(&p) //nolint:musttag // the names are those of the go command
		if errors.Is(err, io.EOF) {
			require.NotEmpty(t, packages)
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// allowed lists, for each package that others may build upon, what it may import of this module
// besides internal packages. A name with /... stands for what is below it too.
var allowed = map[string][]string{
	"errors":                   {},
	"registry":                 {"errors"},
	"bus":                      {"errors"},
	"bus/bustest":              {"errors", "bus"},
	"bus/...":                  {"errors", "bus"},
	"dynamic":                  {"errors", "registry", "bus"},
	"dynamic/...":              {"errors", "registry", "bus", "dynamic"},
	"dynamic/plugin/...":       {"errors", "registry", "bus", "dynamic", "dynamic/plugin"},
	"interceptors":             {"errors", "registry", "bus", "dynamic"},
	"interceptors/...":         {"errors", "registry", "bus", "dynamic", "interceptors"},
	"interceptors/metrics/...": {"errors", "registry", "bus", "dynamic", "interceptors/metrics"},
	"internal/...":             {"errors"},
	"internal/fanout":          {"internal/lifecycle"},
	"internal/lifecycle":       {"internal/shard"},
	"internal/id":              {"internal/shard"},
	"cmd/...":                  {"..."},
	"example/...":              {"..."},
	"tests/...":                {"..."},

	// Plugins link it, and nothing else of ours.
	"dynamic/plugin/wasm/guest/...": {"dynamic/plugin/wasm/guest"},
}

// rule returns what governs the package: the entry for itself, else that of the folder it is in.
func rule(rel string) ([]string, bool) {
	if imports, ok := allowed[rel]; ok {
		return imports, true
	}
	for folder := rel; folder != "."; folder = path.Dir(folder) {
		if imports, ok := allowed[folder+"/..."]; ok {
			return imports, true
		}
	}
	return nil, false
}

func matches(rel string, patterns []string) bool {
	for _, pattern := range patterns {
		if pattern == "..." || pattern == rel {
			return true
		}
	}
	return false
}

func TestImports_FollowTheArrows(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		imports, ok := rule(p.rel())
		if !assert.True(t, ok, "package %s has no rule: is it at the right place?", p.rel()) {
			continue
		}
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, module+"/")
			if !ours || matches(target, imports) {
				continue
			}
			mayUseInternal := p.rel() != "errors" && !strings.HasPrefix(p.rel(), "internal/")
			assert.True(t, mayUseInternal && strings.HasPrefix(target, "internal/"),
				"%s must not import %s", p.rel(), target)
		}
	}
}

func TestImports_OnlyErrorsUsesTheStandardErrors(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if p.rel() == "errors" {
			continue
		}
		for _, imports := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			assert.NotContains(t, imports, "errors", "package %s", p.rel())
		}
	}
}

func TestPackages_AreDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		assert.NotEmpty(t, p.Doc, "package %s has no comment", p.rel())
		if p.Name != "main" {
			assert.Contains(t, p.GoFiles, "doc.go", "package %s has its comment elsewhere", p.rel())
		}
	}
}

func TestRoot_HasNoGoFile(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	known := []string{"bus", "cmd", "dynamic", "errors", "example", "interceptors", "internal", "registry", "tests", "docs"}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasPrefix(name, "."):
		case entry.IsDir():
			assert.Contains(t, known, name, "a new folder at the top")
		default:
			assert.NotEqual(t, ".go", path.Ext(name), "a Go file at the top")
		}
	}
}

// TestPrograms_LinkOnlyWhatTheyUse: brokers' clients, the fast decoder, and what some interceptors
// need, are linked where they are imported.
func TestPrograms_LinkOnlyWhatTheyUse(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "-deps", "./example/quickstart", "./interceptors") {
		for _, optional := range []string{
			"github.com/redis/", "github.com/nats-io/", "buf.build/", "github.com/prometheus/", "go.opentelemetry.io/",
			"github.com/sony/", "golang.org/x/time", "github.com/tetratelabs/",
		} {
			assert.False(t, strings.HasPrefix(p.ImportPath, optional), "quickstart or interceptors link %s", p.ImportPath)
		}
	}
}
