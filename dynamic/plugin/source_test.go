package plugin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestParseManifest_ReadsAllFields(t *testing.T) {
	t.Parallel()
	m, err := plugin.ParseManifest([]byte(`{
		"name": "greeter", "version": "1.2", "loader": "wasm", "code": "bin/code.wasm", "descriptors": "api.proto",
		"services": ["a.B"], "wire_names": {"a.B": "C"}, "limits": {"timeout": "1.5s", "memory": 65536, "instances": 3},
		"args": ["-v"], "env": ["A=b=c"]
	}`))
	require.NoError(t, err)
	assert.Equal(t, plugin.Manifest{
		Name: "greeter", Version: "1.2", Loader: "wasm", Code: "bin/code.wasm", Descriptors: "api.proto",
		Services: []string{"a.B"}, WireNames: map[string]string{"a.B": "C"},
		Limits: plugin.Limits{Timeout: plugin.Duration(1500 * time.Millisecond), Memory: 65536, Instances: 3},
		Args:   []string{"-v"}, Env: []string{"A=b=c"},
	}, m)
}

func TestParseManifest_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for manifest, expected := range map[string]string{
		"":                                      "it is not complete: unexpected EOF",
		`{"loader": "x",`:                       "it is not complete: unexpected EOF",
		"{\n\"loader\": x}":                     "line 2: invalid character 'x' looking for beginning of value",
		`{"lodaer": "x"}`:                       `unknown field "lodaer"`,
		`{"limits": {"memry": 1}}`:              `unknown field "memry"`,
		"{\n\n\"version\": 1.2}":                "line 3: field version cannot be a number",
		`{"limits": {"timeout": "soon"}}`:       `"soon" is not a duration such as 1.5s`,
		`{"limits": {"timeout": 5}}`:            "line 1: field limits.timeout cannot be a number",
		"{\"loader\":\"x\",\"code\":\"y\"}\n{}": "line 2: there is something after the manifest: remove it",
		`{"name": "../x", "version": "\u0007"}`: "field name: \"../x\" is not of letters, digits, dots, dashes and underscores, 100 at most\n" +
			"field version: \"\\a\" has bytes that cannot be shown\n" +
			"field loader is missing: it says what runs the code\nfield code is missing: it names the file with the code",
		`{"loader":"x","code":"y","sha256":"12"}`:            `field sha256: "12" is not 64 hex digits`,
		`{"loader":"x","code":"y","services":["a..b"]}`:      `field services: "a..b" is not the full name of a service`,
		`{"loader":"x","code":"y","wire_names":{"a":"b"}}`:   `field wire_names: "a" has no descriptor: name them in the field descriptors`,
		`{"loader":"x","code":"y","limits":{"memory":-1}}`:   "field limits: a limit is negative",
		`{"loader":"x","code":"y","args":["\u0000"]}`:        `field args: "\x00" has a NUL`,
		`{"loader":"x","code":"y","env":["x"]}`:              `field env: "x" is not of the form name=value`,
		`{"loader":"x","code":"y","env":["DYNPSRPC_BUS=x"]}`: `field env: "DYNPSRPC_BUS=x": names that begin with DYNPSRPC_ are the loader's`,
	} {
		_, err := plugin.ParseManifest([]byte(manifest))
		require.EqualError(t, err, expected, manifest)
	}
}

// descriptorSet returns what protoc -o would write.
func descriptorSet(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "greeting.proto"), []byte(proto), 0o600))
	reg := registry.New()
	require.NoError(t, reg.ParseProto(os.DirFS(folder), "greeting.proto"))
	service, _ := reg.Service(greeter)
	file := protodesc.ToFileDescriptorProto(service.Descriptor().ParentFile())
	wrappers := protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto)
	set, err := protobuf.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{wrappers, file}})
	require.NoError(t, err)
	return string(set)
}

func TestReadSource_TakesADescriptorSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := w.plugin("greeter", "v 1", func(m *plugin.Manifest) {
		m.Descriptors, m.Services = "greeting.binpb", nil
		m.WireNames = map[string]string{parting: "Farewell"}
	})
	w.write("greeter/greeting.binpb", descriptorSet(t))
	source, err := plugin.ReadSource(folder)
	require.NoError(t, err)
	require.Len(t, source.Services, 2)
	assert.Equal(t, "greeter", source.Name)
	assert.Equal(t, "Greeter", source.Services[0].WireName())
	assert.Equal(t, "Farewell", source.Services[1].WireName())
	assert.Equal(t, "v 1", string(source.Content))
}

func TestReadSource_ImportsFromTheFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := w.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Services = []string{"api.Service"}; m.Descriptors = "api/service.proto" })
	w.write("greeter/api/service.proto", `syntax = "proto3"; package api; import "types/message.proto"; import "options.proto";
service Service { rpc Get(types.Message) returns (types.Message) { option (psrpc.options).type = MULTI; } }`)
	w.write("greeter/types/message.proto", `syntax = "proto3"; package types; message Message {}`)
	source, err := plugin.ReadSource(folder)
	require.NoError(t, err)
	assert.Equal(t, registry.KindMulti, source.Services[0].Methods()[0].Kind())
}

func TestReadSource_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change   func(t *testing.T, w *world, m *plugin.Manifest)
		expected string
	}{
		"no manifest": {func(_ *testing.T, w *world, _ *plugin.Manifest) {
			w.remove = plugin.ManifestName
		}, "manifest plugin.json: "},
		"manifest too large": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Args = []string{strings.Repeat("x", 1<<20)} },
			"manifest plugin.json: plugin.json is larger than 1048576 bytes"},
		"checksum": {func(_ *testing.T, _ *world, m *plugin.Manifest) {
			m.SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		}, "code (field code of plugin.json): code has the checksum b5"},
		"code outside": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Code = "../secret" },
			`code (field code of plugin.json): "../secret" is not a path inside the plugin's folder`},
		"code absolute": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Code = "/etc/passwd" },
			`"/etc/passwd" is not a path inside the plugin's folder`},
		"code linked outside": {func(t *testing.T, w *world, m *plugin.Manifest) {
			w.write("secret", "secret")
			w.write("greeter/x", "")
			require.NoError(t, os.Symlink(filepath.Join(w.root, "secret"), filepath.Join(w.root, "greeter", "link")))
			m.Code = "link"
		}, "path escapes from parent"},
		"code is a folder": {func(_ *testing.T, w *world, m *plugin.Manifest) {
			w.write("greeter/folder/x", "")
			m.Code = "folder"
		}, "code (field code of plugin.json): folder is not a regular file"},
		"no descriptors": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Descriptors = "lost.proto" },
			"descriptors (field descriptors of plugin.json): lost.proto: lost.proto is not in the plugin's folder: file does not exist"},
		"no code": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Code = "lost" },
			"code (field code of plugin.json): lost is not in the plugin's folder: file does not exist"},
		"bad descriptors": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Descriptors = "code" },
			"code: it is not a FileDescriptorSet, as protoc -o and buf build write it"},
		"bad proto": {func(_ *testing.T, w *world, m *plugin.Manifest) {
			w.write("greeter/bad.proto", "syntax = \"proto3\";\nservice {}")
			m.Descriptors = "bad.proto"
		}, "bad.proto:2"},
		"unknown service": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.Services = []string{"greeting.Gretter"} },
			`manifest plugin.json: field services: there is no service "greeting.Gretter" in greeting.proto, which has [greeting.Greeter greeting.Parting]`},
		"unknown wire name": {func(_ *testing.T, _ *world, m *plugin.Manifest) {
			m.Services, m.WireNames = nil, map[string]string{"greeting.Gretter": "x"}
		}, `field wire_names: there is no service "greeting.Gretter" in greeting.proto`},
		"bad wire name": {func(_ *testing.T, _ *world, m *plugin.Manifest) { m.WireNames = map[string]string{greeter: "x y"} },
			"field wire_names: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			folder := w.plugin("greeter", "v 1", func(m *plugin.Manifest) { test.change(t, w, m) })
			if w.remove != "" {
				require.NoError(t, os.Remove(filepath.Join(folder, w.remove)))
			}
			_, err := plugin.ReadSource(folder)
			require.ErrorContains(t, err, test.expected)
			require.ErrorContains(t, err, "plugin "+folder+": ")
		})
	}
	_, err := plugin.ReadSource(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
