package arch

import (
	"fmt"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rule lists the packages of this module that a package may import in its non-test files. Paths are
// relative to the module. A path that ends with /... stands for everything below a folder, and the
// path ... stands for the whole module.
type rule struct {
	packages  string
	mayImport []string
	reason    string
}

// rules contains the rules of all packages. If there is no rule with the path of a package, the
// rule of the nearest enclosing folder applies.
var rules = []rule{
	{"errors", nil, "every other package returns its errors"},
	{"registry", []string{"errors", "internal/..."}, "it describes services and knows no bus"},
	{"registry/psrpcoptions", nil, "generated code imports it; it contains no code"},
	{"bus", []string{"errors", "internal/..."}, "it transports bytes and knows no services"},
	{"bus/...", []string{"errors", "bus", "internal/..."}, "it transports bytes and knows no services"},
	{"dynamic", []string{"errors", "registry", "bus", "internal/...", "dynamic/internal/..."}, "it is built on these"},
	{"dynamic/...", []string{"errors", "registry", "bus", "internal/...", "dynamic"},
		"it uses the public API of dynamic; dynamic/internal is for dynamic alone"},
	{"dynamic/fleet/...", []string{"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/fleet"},
		"it uses the public API of dynamic and of dynamic/fleet"},
	{"dynamic/dynamictest", []string{"bus", "dynamic", "registry"}, "a test of a service links only what the service needs"},
	{"dynamic/plugin/...", []string{"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/plugin"},
		"loaders of plugins do not know each other; dynamic/internal is for dynamic alone"},
	{"dynamic/plugin/wasm/guest/...", []string{"dynamic/plugin/wasm/guest"}, "it is compiled into plugins and stays small"},
	{"interceptors", []string{"errors", "registry", "bus", "dynamic", "internal/..."}, "it uses the public API of dynamic"},
	{"interceptors/...", []string{"errors", "registry", "bus", "dynamic", "interceptors", "internal/..."},
		"interceptors with dependencies do not know each other"},
	{"interceptors/metrics/...", []string{"errors", "registry", "bus", "dynamic", "interceptors/metrics", "internal/..."},
		"exporters of metrics do not know each other"},

	// These are the internal packages of package dynamic.
	{"dynamic/internal/...", []string{"errors", "registry", "bus", "internal/..."},
		"a part of dynamic imports neither dynamic nor another part"},
	{"dynamic/internal/message", []string{"errors", "internal/wire"},
		"it knows messages only, neither services nor a bus"},
	{"dynamic/internal/selection", []string{"errors", "internal/id", "internal/queue", "internal/timer", "internal/wire"},
		"it knows claims and presences only, neither services nor a bus"},
	{"dynamic/internal/transport", []string{"errors", "registry", "bus", "internal/similar", "internal/wire"},
		"it knows frames and topics, but no calls, streams or handlers"},

	// These packages import hardly any other packages of this module. An empty list means that a
	// package may import none.
	{"internal/...", []string{"errors"}, "it is a leaf"},
	{"internal/clockskew", nil, "it is a leaf"},
	{"internal/dedup", []string{"internal/id", "internal/shard"}, "it is sharded by id"},
	{"internal/fanout", []string{"internal/lifecycle"}, "its subscribers are closed like all others"},
	{"internal/id", []string{"internal/shard"}, "an id selects a shard"},
	{"internal/lazyctx", nil, "it is a leaf"},
	{"internal/lifecycle", []string{"internal/shard"}, "its counters are sharded"},
	{"internal/queue", nil, "it is a leaf"},
	{"internal/semaphore", nil, "it is a leaf"},
	{"internal/logthrottle", nil, "it is a leaf"},
	{"internal/shard", nil, "it is a leaf"},
	{"internal/similar", nil, "it is a leaf"},
	{"internal/timer", nil, "it is a leaf"},

	// These are the parts of the program psrpc.
	{"cmd/psrpc", []string{"cmd/psrpc/internal/...", "errors"}, "it only runs the root command"},
	{"cmd/psrpc/internal/...",
		[]string{
			"errors", "registry", "bus", "bus/...", "dynamic", "dynamic/fleet", "dynamic/fleet/...",
			"interceptors", "interceptors/...", "internal/...", "cmd/psrpc/internal/human",
		},
		"it is logic that knows neither the command line nor another part"},
	{"cmd/psrpc/internal/human", []string{"errors", "internal/..."}, "it only formats values for people"},
	{"cmd/psrpc/internal/mock",
		[]string{
			"errors", "registry", "bus", "dynamic", "dynamic/fleet", "internal/...",
			"cmd/psrpc/internal/human", "cmd/psrpc/internal/recording",
		},
		"it also answers with what was recorded"},
	{"cmd/psrpc/internal/app",
		[]string{
			"errors", "registry", "bus", "bus/...", "dynamic", "dynamic/fleet", "internal/...",
			"cmd/psrpc/internal/schema", "cmd/psrpc/internal/contexts", "cmd/psrpc/internal/human",
		},
		"it is what all verbs share, and knows none of them"},
	{"cmd/psrpc/internal/verbs", []string{"..."}, "it connects the command line with the logic"},
	{"cmd/psrpc/internal/clitest", []string{"..."}, "it tests the verbs"},
	{"example/...", []string{"..."}, "it is a program"},
	{"tests/...", []string{"..."}, "it tests everything"},
}

// ruleOf returns the rule that applies to a package.
func ruleOf(pkg string) (rule, bool) {
	patterns := []string{pkg}
	for folder := pkg; folder != "."; folder = path.Dir(folder) {
		patterns = append(patterns, folder+"/...")
	}
	for _, pattern := range patterns {
		for _, r := range rules {
			if r.packages == pattern {
				return r, true
			}
		}
	}
	return rule{}, false
}

// matches reports whether one of the patterns matches a package.
func matches(pkg string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		folder, isFolder := strings.CutSuffix(pattern, "...")
		return pattern == pkg || isFolder && strings.HasPrefix(pkg, folder)
	})
}

// violation returns an error message if a file must not import a package of this module. It returns
// "" if the import is allowed.
func violation(file, imported string) string {
	r, ok := ruleOf(path.Dir(file))
	if !ok {
		return fmt.Sprintf("%s: there is no rule for package %s: is it at the right place?", file, path.Dir(file))
	}
	if matches(imported, r.mayImport) {
		return ""
	}
	allowed := "nothing"
	if len(r.mayImport) > 0 {
		allowed = "only " + strings.Join(r.mayImport, ", ")
	}
	return fmt.Sprintf("%s imports %s, but the rule %q allows %s of this module: %s",
		file, imported, r.packages, allowed, r.reason)
}

// importsOf returns the packages of this module that a file imports.
func importsOf(t *testing.T, file string) (packages []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if rel, ours := strings.CutPrefix(imported, module+"/"); ours {
			packages = append(packages, rel)
		}
	}
	return packages
}

func TestImports_FollowTheRules(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		_, ok := ruleOf(p.rel())
		assert.True(t, ok, "there is no rule for package %s: is it at the right place?", p.rel())
		for _, name := range p.GoFiles {
			for _, imported := range importsOf(t, filepath.Join(p.Dir, name)) {
				assert.Empty(t, violation(path.Join(p.rel(), name), imported))
			}
		}
	}
}

// Test files may import any package, with two exceptions. Only the tests of package dynamic may
// import dynamic/internal, and the tests of dynamic/internal must not import package dynamic.
func TestImports_OnlyDynamicUsesItsInternals(t *testing.T) {
	t.Parallel()
	const parts = "dynamic/internal/"
	for _, p := range list(t, "./...") {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			file := path.Join(p.rel(), name)
			for _, imported := range importsOf(t, filepath.Join(p.Dir, name)) {
				if strings.HasPrefix(imported, parts) && imported != p.rel() {
					assert.Equal(t, "dynamic", p.rel(), "%s imports %s: only package dynamic may import %s...", file, imported, parts)
				}
				if strings.HasPrefix(p.rel(), parts) {
					assert.NotEqual(t, "dynamic", imported, "%s imports dynamic: no part of dynamic may import it", file)
				}
			}
		}
	}
}

// The error message of a forbidden import must contain the file, the import, the rule and the
// reason for the rule.
func TestViolation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, imported, want string }{
		{"dynamic/call.go", "dynamic/internal/message", ""},
		{"dynamic/call.go", "internal/wire", ""},
		{"bus/redisbus/pipeline.go", "internal/id", ""},
		{"tests/e2e/fleet.go", "interceptors", ""},
		{"dynamic/internal/transport/decode.go", "dynamic", `dynamic/internal/transport/decode.go imports dynamic, ` +
			`but the rule "dynamic/internal/transport" allows only errors, registry, bus, internal/similar, internal/wire of this module: ` +
			`it knows frames and topics, but no calls, streams or handlers`},
		{"dynamic/internal/stream/stream.go", "dynamic/internal/message", `dynamic/internal/stream/stream.go imports ` +
			`dynamic/internal/message, but the rule "dynamic/internal/..." allows only errors, registry, bus, internal/... ` +
			`of this module: a part of dynamic imports neither dynamic nor another part`},
		{"dynamic/plugin/host.go", "dynamic/internal/message", `dynamic/plugin/host.go imports dynamic/internal/message, ` +
			`but the rule "dynamic/plugin/..." allows only errors, registry, bus, internal/..., dynamic, dynamic/plugin ` +
			`of this module: loaders of plugins do not know each other; dynamic/internal is for dynamic alone`},
		{"internal/queue/fifo.go", "errors", `internal/queue/fifo.go imports errors, but the rule "internal/queue" ` +
			`allows nothing of this module: it is a leaf`},
		{"metrics/metrics.go", "errors", `metrics/metrics.go: there is no rule for package metrics: is it at the right place?`},
	} {
		assert.Equal(t, tt.want, violation(tt.file, tt.imported))
	}
}
