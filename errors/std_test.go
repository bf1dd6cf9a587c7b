package errors_test

import (
	stderrors "errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// The functions forwarded from the standard package must have the same types as the originals.
// Otherwise, this does not compile.
var (
	_ = [...]func(string) error{stderrors.New, errors.New}
	_ = [...]func(error, error) bool{stderrors.Is, errors.Is}
	_ = [...]func(error, any) bool{stderrors.As, errors.As}
	_ = [...]func(error) (*codeless, bool){stderrors.AsType[*codeless], errors.AsType[*codeless]}
	_ = [...]func(...error) error{stderrors.Join, errors.Join}
	_ = [...]func(error) error{stderrors.Unwrap, errors.Unwrap}
)

type codeless struct{}

func (*codeless) Error() string { return "codeless" }

// Package errors must contain every exported name of the standard package. This test fails if a new
// version of Go adds a name.
func TestPackage_HasEveryStandardName(t *testing.T) {
	t.Parallel()
	files := token.NewFileSet()
	std, err := importer.ForCompiler(files, "source", nil).Import("errors")
	require.NoError(t, err)
	ours := exportedNames(t, files)
	seen := 0
	for _, name := range std.Scope().Names() {
		if ast.IsExported(name) {
			assert.Contains(t, ours, name, "the standard package has a name that this one lacks: forward it in std.go")
			seen++
		}
	}
	assert.GreaterOrEqual(t, seen, 7)
}

func exportedNames(t *testing.T, files *token.FileSet) []string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var names []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					names = append(names, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if values, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range values.Names {
							names = append(names, name.Name)
						}
					}
				}
			}
		}
	}
	return names
}

func TestPackage_ForwardsStandardMeaning(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	typed := &codeless{}
	wrapped := fmt.Errorf("around: %w", typed)
	joined := errors.Join(plain, nil, wrapped)

	require.EqualError(t, plain, "plain")
	assert.NotSame(t, plain, errors.New("plain"))
	assert.Same(t, stderrors.ErrUnsupported, errors.ErrUnsupported)
	assert.True(t, errors.Is(joined, plain))
	assert.False(t, errors.Is(joined, io.EOF))
	assert.Same(t, typed, errors.Unwrap(wrapped))
	require.NoError(t, errors.Unwrap(joined))
	require.EqualError(t, joined, "plain\naround: codeless")
	require.NoError(t, errors.Join(nil, nil))

	var found *codeless
	assert.True(t, errors.As(joined, &found))
	assert.Same(t, typed, found)
	found, ok := errors.AsType[*codeless](joined)
	assert.True(t, ok)
	assert.Same(t, typed, found)
	_, ok = errors.AsType[*codeless](plain)
	assert.False(t, ok)
}
