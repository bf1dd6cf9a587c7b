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
	{"bus/internal/driver", []string{"errors", "bus", "internal/dropcount", "internal/fanout", "internal/lifecycle"},
		"it is what all brokers' buses share, and knows no broker"},
	{"bus/redisbus", []string{"errors", "bus", "bus/internal/driver", "internal/...", "bus/redisbus/internal/..."},
		"it transports bytes and knows no services"},
	{"bus/redisbus/internal/resp", []string{"errors"}, "it is a protocol, and knows no bus"},
	{"bus/redisbus/internal/pipeline", []string{"errors", "bus/redisbus/internal/resp"},
		"it sends commands of any kind, and knows no bus"},
	{"bus/natsbus", []string{"errors", "bus", "bus/internal/driver", "bus/natsbus/internal/...", "internal/..."},
		"it transports bytes and knows no services"},
	{"bus/natsbus/internal/...", nil, "a part of the NATS bus knows neither the bus nor another part"},
	{"bus/natsbus/internal/flush", []string{"errors", "internal/timer"}, "it knows PINGs only"},
	{"bus/natsbus/internal/reports", []string{"bus"}, "it knows delivery reports only"},
	{"dynamic", []string{"errors", "registry", "bus", "internal/...", "dynamic/internal/..."}, "it is built on these"},
	{"dynamic/...", []string{"errors", "registry", "bus", "internal/...", "dynamic"},
		"it uses the public API of dynamic; dynamic/internal is for dynamic alone"},
	{"dynamic/fleet/...", []string{"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/fleet"},
		"it uses the public API of dynamic and of dynamic/fleet"},
	{"dynamic/explorer", []string{"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/fleet", "dynamic/fleet/tapfilter"},
		"it shows a fleet, and passes calls to a gateway that it knows only as an http.Handler"},
	{"dynamic/gateway/rest", []string{"errors", "registry", "internal/...", "dynamic/gateway"},
		"it knows paths and messages, but makes no calls"},
	{"dynamic/dynamictest", []string{"bus", "dynamic", "registry"}, "a test of a service links only what the service needs"},
	{"dynamic/plugin", []string{"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/plugin/internal/..."},
		"it uses the public API of dynamic, and knows no loader"},
	{"dynamic/plugin/internal/source", []string{"errors", "registry"}, "it reads files, and knows neither hosts nor loaders"},
	{"dynamic/plugin/internal/watch", []string{"errors"}, "it watches folders, and knows a host only as an interface"},
	{"dynamic/plugin/...", []string{"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/plugin"},
		"loaders of plugins do not know each other; dynamic/internal is for dynamic alone"},
	{"dynamic/plugin/wasm",
		[]string{
			"errors", "registry", "bus", "internal/...", "dynamic", "dynamic/plugin", "dynamic/plugin/wasm/internal/...",
		},
		"loaders of plugins do not know each other"},
	{"dynamic/plugin/wasm/internal/metering", []string{"errors"}, "it rewrites bytes, and knows neither plugins nor services"},
	{"dynamic/plugin/wasm/guest/...", []string{"dynamic/plugin/wasm/guest"}, "it is compiled into plugins and stays small"},
	{"interceptors", []string{"errors", "registry", "bus", "dynamic", "internal/..."}, "it uses the public API of dynamic"},
	{"interceptors/...", []string{"errors", "registry", "bus", "dynamic", "interceptors", "internal/..."},
		"interceptors with dependencies do not know each other"},
	{"interceptors/metrics/...", []string{"errors", "registry", "bus", "dynamic", "interceptors/metrics", "internal/..."},
		"exporters of metrics do not know each other"},

	// These are the internal packages of package dynamic.
	{"dynamic/internal/...", []string{"errors", "registry", "bus", "internal/..."},
		"a part of dynamic imports neither dynamic nor another part"},
	{"dynamic/internal/call",
		[]string{
			"errors", "registry", "bus", "internal/...",
			"dynamic/internal/message", "dynamic/internal/selection", "dynamic/internal/stream", "dynamic/internal/transport",
		},
		"it makes calls and opens streams, and knows neither handlers nor interceptors"},
	{"dynamic/internal/message", []string{"errors", "internal/wire"},
		"it knows messages only, neither services nor a bus"},
	{"dynamic/internal/selection", []string{"errors", "internal/id", "internal/queue", "internal/timer", "internal/wire"},
		"it knows claims and presences only, neither services nor a bus"},
	{"dynamic/internal/serve",
		[]string{
			"errors", "registry", "bus", "dynamic/internal/message", "dynamic/internal/stream", "dynamic/internal/tap",
			"dynamic/internal/transport", "internal/...",
		},
		"it is the engine of servers: it knows encoded messages, but neither clients, interceptors nor public types of dynamic"},
	{"dynamic/internal/stream",
		[]string{
			"errors", "registry", "bus", "dynamic/internal/message", "dynamic/internal/tap", "dynamic/internal/transport",
			"internal/clockskew", "internal/dedup", "internal/id", "internal/lazyctx", "internal/lifecycle", "internal/queue", "internal/wire",
		},
		"it knows one open stream, but neither clients, servers nor interceptors"},
	{"dynamic/internal/tap", []string{"errors", "registry"}, "it describes traffic and knows no bus"},
	{"dynamic/internal/update",
		[]string{
			"errors", "registry", "bus", "internal/lifecycle", "internal/queue", "internal/wire",
			"dynamic/internal/message", "dynamic/internal/transport",
		},
		"it knows messages and frames, but no interceptors, conns or servers"},
	{"dynamic/internal/transport",
		[]string{"errors", "registry", "bus", "internal/fanout", "internal/lazyctx", "internal/logthrottle", "internal/similar", "internal/wire"},
		"it knows frames and topics, but no calls, streams or handlers"},

	// These packages import hardly any other packages of this module. An empty list means that a
	// package may import none.
	{"internal/...", []string{"errors"}, "it is a leaf"},
	{"internal/backoff", nil, "it is a leaf"},
	{"internal/clockskew", nil, "it is a leaf"},
	{"internal/dedup", []string{"internal/id", "internal/shard"}, "it is sharded by id"},
	{"internal/fanout", []string{"internal/lifecycle"}, "its subscribers are closed like all others"},
	{"internal/id", []string{"internal/shard"}, "an id selects a shard"},
	{"internal/lazyctx", nil, "it is a leaf"},
	{"internal/lifecycle", []string{"internal/shard", "internal/timer"}, "its counters are sharded, and its waits are limited"},
	{"internal/queue", nil, "it is a leaf"},
	{"internal/quiettime", nil, "it is a leaf"},
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
	{"tests/e2e",
		[]string{
			"errors", "registry", "bus", "dynamic", "dynamic/dynamictest", "interceptors", "interceptors/...",
			"internal/wire", "example/compiled/api", "tests/testkit/kinds",
		},
		"users run it on a bus of their own, so it links no broker"},
	{"tests/testkit/kinds", []string{"errors", "registry", "bus", "dynamic", "dynamic/dynamictest"},
		"tests/e2e uses it, so it links no broker"},
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
	for _, p := range all(t) {
		_, ok := ruleOf(p.rel())
		assert.True(t, ok, "there is no rule for package %s: is it at the right place?", p.rel())
		for _, name := range p.GoFiles {
			for _, imported := range importsOf(t, filepath.Join(p.Dir, name)) {
				assert.Empty(t, violation(path.Join(p.rel(), name), imported))
			}
		}
	}
}

// Test files may import any package, with two exceptions. Only the tests of package dynamic and of
// its parts may import dynamic/internal, and the tests of the parts must not import package dynamic.
func TestImports_OnlyDynamicUsesItsInternals(t *testing.T) {
	t.Parallel()
	const parts = "dynamic/internal/"
	for _, p := range all(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			file := path.Join(p.rel(), name)
			for _, imported := range importsOf(t, filepath.Join(p.Dir, name)) {
				if strings.HasPrefix(imported, parts) && !strings.HasPrefix(p.rel(), parts) {
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
		{"bus/redisbus/session.go", "internal/id", ""},
		{"tests/e2e/fleet.go", "interceptors", ""},
		{"dynamic/internal/transport/decode.go", "dynamic", `dynamic/internal/transport/decode.go imports dynamic, ` +
			`but the rule "dynamic/internal/transport" allows only errors, registry, bus, internal/fanout, internal/lazyctx, internal/logthrottle, internal/similar, internal/wire of this module: ` +
			`it knows frames and topics, but no calls, streams or handlers`},
		{"dynamic/internal/new/new.go", "dynamic/internal/message", `dynamic/internal/new/new.go imports ` +
			`dynamic/internal/message, but the rule "dynamic/internal/..." allows only errors, registry, bus, internal/... ` +
			`of this module: a part of dynamic imports neither dynamic nor another part`},
		{"dynamic/plugin/process/loader.go", "dynamic/internal/message", `dynamic/plugin/process/loader.go imports dynamic/internal/message, ` +
			`but the rule "dynamic/plugin/..." allows only errors, registry, bus, internal/..., dynamic, dynamic/plugin ` +
			`of this module: loaders of plugins do not know each other; dynamic/internal is for dynamic alone`},
		{"internal/queue/fifo.go", "errors", `internal/queue/fifo.go imports errors, but the rule "internal/queue" ` +
			`allows nothing of this module: it is a leaf`},
		{"metrics/metrics.go", "errors", `metrics/metrics.go: there is no rule for package metrics: is it at the right place?`},
	} {
		assert.Equal(t, tt.want, violation(tt.file, tt.imported))
	}
}
