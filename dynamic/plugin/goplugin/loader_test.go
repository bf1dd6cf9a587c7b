package goplugin

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	proto = `
syntax = "proto3";
package greeting;
import "google/protobuf/wrappers.proto";
service Greeter { rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
`
	otherProto = `
syntax = "proto3";
package greeting;
import "google/protobuf/wrappers.proto";
service Greeter { rpc Hello(google.protobuf.StringValue) returns (google.protobuf.BytesValue); rpc Bye(google.protobuf.StringValue) returns (google.protobuf.BytesValue); }
`
	buildTimeout = 5 * time.Minute // with a cold cache, on a busy machine
)

// factory builds programs and plugins into a folder.
type factory struct {
	*testing.T

	folder string
}

// build builds a package or a file of testdata.
func (f factory) build(name, source string, flags ...string) (path string) {
	f.Helper()
	path = filepath.Join(f.folder, name)
	ctx, cancel := context.WithTimeout(f.Context(), buildTimeout)
	defer cancel()
	args := append([]string{"build", "-buildvcs=false", "-o", path}, flags...)
	command := exec.CommandContext(ctx, "go", append(args, "./testdata/"+source)...)
	command.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=1")
	output, err := command.CombinedOutput()
	require.NoError(f, err, "%s", output)
	return path
}

// plugin builds a plugin and returns its folder.
func (f factory) plugin(name, source, variable string, change ...func(m *plugin.Manifest)) (folder string) {
	f.Helper()
	file := filepath.Join(name, "plugin.so")
	f.build(file, source, "-buildmode=plugin", "-ldflags=-s -w -X main."+variable)
	return f.manifest(name, change...)
}

func (f factory) manifest(name string, change ...func(m *plugin.Manifest)) (folder string) {
	f.Helper()
	m := plugin.Manifest{Name: "greeter", Version: name, Loader: "go", Code: "plugin.so"}
	for _, edit := range change {
		edit(&m)
	}
	content, err := json.Marshal(m)
	require.NoError(f, err)
	folder = filepath.Join(f.folder, name)
	for file, content := range map[string]string{plugin.ManifestName: string(content), "greeting.proto": proto, "other.proto": otherProto} {
		require.NoError(f, os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600))
	}
	return folder
}

// run has the host load folders, and returns a line for each.
func (f factory) run(host string, environment []string, folders ...string) (lines []string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, host, folders...)
	command.Env = append(append(os.Environ(), "PROTOS="+filepath.Dir(filepath.Join(folders[0], "x")), "TIMEOUT=1m"), environment...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	require.NoError(f, err)
	for line := range strings.Lines(string(output)) {
		var text string
		require.NoError(f, json.Unmarshal([]byte(line), &text))
		lines = append(lines, text)
	}
	require.Len(f, lines, len(folders))
	return lines
}

func TestLoader_LoadsRealPlugins(t *testing.T) {
	t.Parallel()
	if !supported {
		t.Skip("Go plugins are not supported here")
	}
	if testing.Short() {
		t.Skip("it builds plugins")
	}
	f := factory{t, t.TempDir()}
	host := f.build("host", "host")
	first := f.plugin("first", "greeter/main.go", "version=1") // its plugin path is made of its content
	second := f.plugin("second", "greeter", "version=2", func(m *plugin.Manifest) { m.Descriptors = "greeting.proto" })
	samePath := f.plugin("same-path", "greeter", "version=3")
	wrongType := f.plugin("wrong-type", "wrong", "does=nothing")
	panics := f.plugin("panics", "wrong/main.go", "does=panic")
	empty := f.plugin("empty", "empty", "does=nothing")

	require.NoError(t, os.Mkdir(filepath.Join(f.folder, "other"), 0o700))
	require.NoError(t, os.Link(filepath.Join(second, "plugin.so"), filepath.Join(f.folder, "other", "plugin.so")))
	other := f.manifest("other", func(m *plugin.Manifest) { m.Descriptors = "other.proto" })

	require.NoError(t, os.Mkdir(filepath.Join(f.folder, "program"), 0o700))
	require.NoError(t, os.Link(host, filepath.Join(f.folder, "program", "plugin.so")))
	program := f.manifest("program")

	folders := []string{first, second, samePath, wrongType, panics, panics, empty, other, program, first}
	expected := []string{
		"version 1", "version 2",
		"plugin already loaded: another version of it is loaded, with the same plugin path",
		"its Services is a func() error, and must be a func() ([]plugin.Service, error)",
		"its init panicked: out of order", "its init panicked: out of order",
		"it exports no Services: it must have func Services() ([]plugin.Service, error)",
		"its code does not serve greeting.Greeter/Bye, which is in its descriptors",
		"it was built with -buildmode=exe: build it with -buildmode=plugin",
		"version 1",
	}
	for i, line := range f.run(host, nil, folders...) {
		assert.Contains(t, line, expected[i], folders[i])
	}
	lines := f.run(host, []string{"PANIC=1"}, second)
	assert.Contains(t, lines[0], "its function Services panicked: no services today")
	lines = f.run(host, []string{"HANG=1", "TIMEOUT=3s"}, second) // the host ends all the same
	assert.Contains(t, lines[0], "its init or its function Services has not returned: context deadline exceeded")

	left, err := filepath.Glob(filepath.Join(os.TempDir(), "dynpsrpc-plugin-*", "*.so"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// load has this program load content.
func load(content string, change ...func(m *plugin.Manifest)) error {
	source := &plugin.Source{Content: []byte(content), Digest: content}
	for _, edit := range change {
		edit(&source.Manifest)
	}
	_, err := NewLoader().Load(context.Background(), source, nil)
	return err
}

func TestLoader_RefusesWhatIsNoPlugin(t *testing.T) {
	t.Parallel()
	if !supported {
		require.ErrorContains(t, load(""), "build it with CGO_ENABLED=1")
		return
	}
	for _, content := range []string{"", "text", "\x7fELF\x02\x01\x01"} {
		require.ErrorContains(t, load(content), "it is not a Go plugin, or not a whole one")
	}
	require.ErrorContains(t, load("", func(m *plugin.Manifest) { m.Args = []string{"-v"} }), "fields limits, args and env")
}

func TestLoader_ComparesBuilds(t *testing.T) {
	t.Parallel()
	if !supported {
		t.Skip("Go plugins are not supported here")
	}
	f := factory{t, t.TempDir()}
	path := f.build("plugin.so", "empty", "-buildmode=plugin", "-tags=other")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	err = load(string(content))
	require.ErrorContains(t, err, "it was built otherwise than its host: ")
	require.ErrorContains(t, err, "-tags is other in the plugin and not set in the host")
}
