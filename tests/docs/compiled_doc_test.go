package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compiledDoc contains the code blocks of docs/compiled.md.
type compiledDoc struct{ proto, sh, yaml, goCode []string }

func readCompiledDoc(t *testing.T) (doc compiledDoc) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/compiled.md"))
	require.NoError(t, err)
	for language, target := range map[string]*[]string{
		"proto": &doc.proto, "sh": &doc.sh, "yaml": &doc.yaml, "go": &doc.goCode,
	} {
		*target, _ = blocks(t, string(text), language)
	}
	return doc
}

// shopModule returns the folder of a module that contains the .proto file of docs/compiled.md.
func shopModule(t *testing.T, doc compiledDoc) string {
	t.Helper()
	folder := otherModule(t)
	require.NoError(t, os.Mkdir(filepath.Join(folder, "proto"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "proto/shop.proto"), []byte(doc.proto[0]), 0o600))
	return folder
}

func requireGenerated(t *testing.T, folder string) {
	t.Helper()
	generated, err := os.ReadFile(filepath.Join(folder, "shop/shop.pb.go"))
	require.NoError(t, err)
	assert.Contains(t, string(generated), optionsImport)
}

// The commands for protoc generate the package shop and a descriptor set. A program with the Go
// code of the page uses both.
func TestCompiledDoc_Protoc(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("protoc is not installed: its commands in docs/compiled.md are not tested")
	}
	doc := readCompiledDoc(t)
	folder := shopModule(t, doc)
	set, _, found := strings.Cut(doc.sh[slices.IndexFunc(doc.sh, func(block string) bool {
		return strings.Contains(block, "--include_imports")
	})], "\n")
	require.True(t, found)
	requireCommand(t, folder, doc.sh[0]+set, "PATH="+protocGenGo(t)+":"+os.Getenv("PATH"))
	requireGenerated(t, folder)

	program := `package main

import (
	"fmt"
	"os"

	"example.com/user/shop"
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func use(server *dynamic.Server, handlers dynamic.Handlers) (*registry.Registry, error) {
` + doc.goCode[0] + `	return reg, err
}

func load(reg *registry.Registry) error {
` + doc.goCode[1] + `	return err
}

func parse(reg *registry.Registry) error {
` + doc.goCode[2] + `	return err
}

func main() {
	reg, err := use(dynamic.NewServer(bus.NewLocal()), nil)
	fmt.Println(reg.Services(), err, load(reg), parse(reg))
	method, _ := reg.Method("shop.Shop/Sell")
	fmt.Println(method)
}
`
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(program), 0o600))
	output := requireCommand(t, folder, "go run -mod=mod .")
	assert.Equal(t, "[shop.Shop] <nil> <nil> <nil>\nshop.Shop/Sell (single, affinity routing)\n", output)
}

// The commands and files for buf generate the same package.
func TestCompiledDoc_Buf(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("buf"); err != nil {
		t.Skip("buf is not installed: its commands in docs/compiled.md are not tested")
	}
	doc := readCompiledDoc(t)
	folder := shopModule(t, doc)
	for i, name := range []string{"buf.yaml", "buf.gen.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(doc.yaml[i]), 0o600))
	}
	requireCommand(t, folder, doc.sh[1]+doc.sh[2]+"buf build -o shop.binpb", "PATH="+protocGenGo(t)+":"+os.Getenv("PATH"))
	requireGenerated(t, folder)
	assert.FileExists(t, filepath.Join(folder, "shop.binpb"))
}
