package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The code blocks of docs/testing.md must form a test file whose tests pass.
func TestTestingDoc(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs/testing.md"))
	require.NoError(t, err)
	proto, _ := blocks(t, string(page), "proto")
	code, _ := blocks(t, string(page), "go")
	source := `package greeting

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

` + strings.Join(code, "\n")
	folder := otherModule(t)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "greeter.proto"), []byte(proto[0]), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "greeting_test.go"), []byte(source), 0o600))
	output := requireCommand(t, folder, "go test -mod=mod -vet=off -v .")
	tests := regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(source, -1)
	require.NotEmpty(t, tests)
	for _, test := range tests {
		assert.Contains(t, output, "--- PASS: "+test[1]+" ")
	}
}
