//go:build tools

package arch

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The files of a package need not stand in layers if there are at most manyFiles of them.
const manyFiles = 10

// arrow is a reference from one file of a package to a declaration in another one.
type arrow struct{ from, to string }

// backward contains the permitted references to a higher layer, each with the reason for it. The
// keys are the paths of packages.
var backward = map[string]map[arrow]string{
	"dynamic": {
		{"interceptor.go", "options_types.go"}: "a client handler takes options, and an option may add interceptors",
	},
	"dynamic/internal/serve": {
		{"engine.go", "service.go"}:           "an engine lists its services, and a service belongs to an engine",
		{"endpoint.go", "service.go"}:         "a service has a table of endpoints, and an endpoint belongs to a service",
		{"inbound.go", "endpoint.go"}:         "an inbound outlives the endpoints that use it in turn",
		{"service.go", "unicast_receiver.go"}: "all versions of a service share a receiver, which knows the current one",
		{"claims.go", "endpoint.go"}:          "a waiting request reports its outcome to its endpoint",
	},
	"dynamic/internal/stream": {
		{"config.go", "stream.go"}: "a config is written before the stream exists, and says who releases it",
	},
	"dynamic/plugin": {
		{"source.go", "manifest.go"}: "a source contains its manifest, and the manifest's parser fills in the source",
	},
	"dynamic/plugin/process": {
		{"process.go", "reap_linux.go"}: "each platform locks, kills and reaps in an order of its own",
	},
	"registry": {
		{"method.go", "service.go"}: "a method knows its service, and a service lists its methods",
	},
}

// The files of a package stand in layers: if a file refers to another one, directly or through
// other files, the other file must not refer back.
func TestFiles_StandInLayers(t *testing.T) {
	t.Parallel()
	packages := list(t, "-deps", "-export", "./...")
	exports := map[string]string{}
	for _, p := range packages {
		exports[p.ImportPath] = p.Export
	}
	var checked []string
	for _, p := range packages {
		if p.DepOnly || len(p.GoFiles) <= manyFiles {
			continue
		}
		path := p.rel()
		checked = append(checked, path)
		arrows := arrowsOf(t, &p, exports)
		for allowed := range backward[path] {
			if !slices.Contains(p.GoFiles, allowed.to) {
				continue // a file of another platform
			}
			assert.True(t, slices.Contains(arrows[allowed.from], allowed.to), "%s: %s does not refer to %s any more",
				path, allowed.from, allowed.to)
			arrows[allowed.from] = slices.DeleteFunc(arrows[allowed.from], func(to string) bool { return to == allowed.to })
		}
		for _, file := range p.GoFiles {
			circle := circleFrom(file, arrows)
			assert.Empty(t, circle, "%s: the files of a circle refer to each other", path)
		}
	}
	assert.Greater(t, len(checked), 15)
	assert.Subset(t, checked, slices.Collect(maps.Keys(backward)))
}

// arrowsOf returns the files to which each file of a package refers.
func arrowsOf(t *testing.T, p *goPackage, exports map[string]string) map[string][]string {
	t.Helper()
	positions := token.NewFileSet()
	files := map[string]*ast.File{}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(positions, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files[name] = file
	}
	config := types.Config{Importer: importer.ForCompiler(positions, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	checked, err := config.Check(p.ImportPath, positions, slices.Collect(maps.Values(files)), info)
	require.NoError(t, err)
	arrows := map[string][]string{}
	for name, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			use, ok := node.(*ast.Ident)
			object := info.Uses[use]
			if !ok || object == nil || object.Pkg() != checked || !object.Pos().IsValid() {
				return true
			}
			to := filepath.Base(positions.Position(object.Pos()).Filename)
			if to != name && !slices.Contains(arrows[name], to) {
				arrows[name] = append(arrows[name], to)
			}
			return true
		})
	}
	return arrows
}

// circleFrom returns the files of a reference cycle that contains file, or nil if there is none.
func circleFrom(file string, arrows map[string][]string) []string {
	visited := map[string]bool{}
	var follow func(path []string) []string
	follow = func(path []string) []string {
		for _, next := range arrows[path[len(path)-1]] {
			if next == file {
				return path
			}
			if !visited[next] {
				visited[next] = true
				if circle := follow(append(path, next)); circle != nil {
					return circle
				}
			}
		}
		return nil
	}
	return follow([]string{file})
}
