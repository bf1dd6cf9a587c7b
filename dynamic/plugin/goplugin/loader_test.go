package goplugin

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

// scratch is a folder that all tests share. It contains what has been built.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "goplugin-test-*"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(scratch)
		os.Exit(status)
	}))
}

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
	buildTimeout = 5 * time.Minute // long enough for an empty build cache on a busy machine
)

var (
	// building is locked during a build. Two builds at once would both compile the packages that
	// the build cache does not contain yet.
	building sync.Mutex
	// built contains the path of each build by its flags and its source. Linking takes long, so no
	// test builds again what another test has built. The mutex building guards this map.
	built = map[string]string{}
)

// builder builds programs and plugins into a folder.
type builder struct {
	*testing.T

	folder string
}

// build builds a package or a file in testdata and returns the path of the result.
func (b builder) build(name, source string, flags ...string) (path string) {
	b.Helper()
	path = filepath.Join(b.folder, name)
	building.Lock()
	defer building.Unlock()
	key := strings.Join(append(flags, source), " ")
	if built[key] == "" {
		shared := filepath.Join(scratch, strconv.Itoa(len(built)))
		ctx, cancel := context.WithTimeout(b.Context(), buildTimeout)
		defer cancel()
		args := append([]string{"build", "-buildvcs=false", "-o", shared}, flags...)
		command := exec.CommandContext(ctx, "go", append(args, "./testdata/"+source)...)
		command.Env = append(os.Environ(), "CGO_ENABLED=1")
		output, err := command.CombinedOutput()
		require.NoError(b, err, "%s", output)
		built[key] = shared
	}
	require.NoError(b, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(b, os.Link(built[key], path))
	return path
}

// plugin builds a plugin and returns its folder.
func (b builder) plugin(name, source, variable string, change ...func(m *plugin.Manifest)) (folder string) {
	b.Helper()
	file := filepath.Join(name, "plugin.so")
	b.build(file, source, "-buildmode=plugin", "-ldflags=-s -w -X main."+variable)
	return b.manifest(name, change...)
}

// copied creates a copy of another plugin, whose folder is other. The copy has the same plugin path
// but different code. copied only appends a byte to the code, because building another version
// takes longer.
func (b builder) copied(name, other string) (folder string) {
	b.Helper()
	code, err := os.ReadFile(filepath.Join(other, "plugin.so"))
	require.NoError(b, err)
	require.NoError(b, os.Mkdir(filepath.Join(b.folder, name), 0o700))
	require.NoError(b, os.WriteFile(filepath.Join(b.folder, name, "plugin.so"), append(code, 0), 0o600))
	return b.manifest(name)
}

func (b builder) manifest(name string, change ...func(m *plugin.Manifest)) (folder string) {
	b.Helper()
	m := plugin.Manifest{Name: "greeter", Version: name, Loader: "go", Code: "plugin.so"}
	for _, edit := range change {
		edit(&m)
	}
	content, err := json.Marshal(m)
	require.NoError(b, err)
	folder = filepath.Join(b.folder, name)
	for file, content := range map[string]string{plugin.ManifestName: string(content), "greeting.proto": proto, "other.proto": otherProto} {
		require.NoError(b, os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600))
	}
	return folder
}

// run starts a host program that loads the plugins in the folders. It returns the lines that the
// host prints, one for each folder.
func (b builder) run(host string, environment []string, folders ...string) (lines []string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), buildTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, host, folders...)
	command.Env = append(append(os.Environ(), "PROTOS="+filepath.Dir(filepath.Join(folders[0], "x")), "TIMEOUT=1m"), environment...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	require.NoError(b, err)
	for line := range strings.Lines(string(output)) {
		var text string
		require.NoError(b, json.Unmarshal([]byte(line), &text))
		lines = append(lines, text)
	}
	require.Len(b, lines, len(folders))
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
	b := builder{t, t.TempDir()}
	host := b.build("host", "host")
	// The plugin is built from a single file, so the Go tool derives its plugin path from the
	// content.
	first := b.plugin("first", "greeter/main.go", "version=1")
	second := b.plugin("second", "greeter", "version=2", func(m *plugin.Manifest) { m.Descriptors = "greeting.proto" })
	samePath := b.copied("same-path", second)
	wrongType := b.plugin("wrong-type", "wrong", "does=nothing")
	panics := b.plugin("panics", "wrong/main.go", "does=panic")
	empty := b.plugin("empty", "empty", "does=nothing")

	require.NoError(t, os.Mkdir(filepath.Join(b.folder, "other"), 0o700))
	require.NoError(t, os.Link(filepath.Join(second, "plugin.so"), filepath.Join(b.folder, "other", "plugin.so")))
	other := b.manifest("other", func(m *plugin.Manifest) { m.Descriptors = "other.proto" })

	require.NoError(t, os.Mkdir(filepath.Join(b.folder, "program"), 0o700))
	require.NoError(t, os.Link(host, filepath.Join(b.folder, "program", "plugin.so")))
	program := b.manifest("program")

	folders := []string{first, second, samePath, wrongType, panics, panics, empty, other, program, first}
	expected := []string{
		"version 1", "version 2",
		"plugin already loaded: another version is loaded with the same plugin path",
		"Services is a func() error, but must be a func() ([]plugin.Service, error)",
		"init panicked: no license", "init panicked: no license",
		"the plugin does not export Services: it must have func Services() ([]plugin.Service, error)",
		"the code does not serve greeting.Greeter/Bye, which is in the descriptors",
		"the plugin was built with -buildmode=exe: build it with -buildmode=plugin",
		"version 1",
	}
	// The hosts have their own folder for temporary files, so that it contains no files of other
	// tests.
	temporary := "TMPDIR=" + t.TempDir()
	for i, line := range b.run(host, []string{temporary}, folders...) {
		assert.Contains(t, line, expected[i], folders[i])
	}
	lines := b.run(host, []string{temporary, "PANIC=1"}, second)
	assert.Contains(t, lines[0], "function Services panicked: no services")
	// The host must give up on the plugin, although the plugin's function Services never returns.
	lines = b.run(host, []string{temporary, "HANG=1", "TIMEOUT=5s"}, second)
	assert.Contains(t, lines[0], "the plugin's init or function Services has not returned: context deadline exceeded")

	left, err := filepath.Glob(filepath.Join(strings.TrimPrefix(temporary, "TMPDIR="), copyPrefix+"*", "*.so"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// load loads content as a plugin into the test process.
func load(content string, change ...func(m *plugin.Manifest)) error {
	source := &plugin.Source{Content: []byte(content), Digest: content}
	for _, edit := range change {
		edit(&source.Manifest)
	}
	_, err := NewLoader().Load(context.Background(), source, nil)
	return err
}

func TestLoader_RejectsOtherFiles(t *testing.T) {
	t.Parallel()
	if !supported {
		require.ErrorContains(t, load(""), "build it with CGO_ENABLED=1")
		return
	}
	for _, content := range []string{"", "text", "\x7fELF\x02\x01\x01"} {
		require.ErrorContains(t, load(content), "not a Go plugin, or truncated")
	}
	require.ErrorContains(t, load("", func(m *plugin.Manifest) { m.Args = []string{"-v"} }), "fields limits, args and env")
}

func TestLoader_ComparesBuilds(t *testing.T) {
	t.Parallel()
	if !supported {
		t.Skip("Go plugins are not supported here")
	}
	b := builder{t, t.TempDir()}
	path := b.build("plugin.so", "empty", "-buildmode=plugin", "-tags=other")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	err = load(string(content))
	require.ErrorContains(t, err, "the plugin and the host were built differently: ")
	require.ErrorContains(t, err, "-tags is other in the plugin and not set in the host")
}
