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

func TestParseManifest_ReportsInvalidFields(t *testing.T) {
	t.Parallel()
	const fields = "; there are name, version, loader, code, sha256, descriptors, services, wire_names, " +
		"limits.timeout, limits.memory, limits.instances, args, env"
	for manifest, expected := range map[string]string{
		"":                                      "the JSON is incomplete: unexpected EOF",
		`{"loader": "x",`:                       "the JSON is incomplete: unexpected EOF",
		"{\n\"loader\": x}":                     "line 2: invalid character 'x' looking for beginning of value",
		`{"lodaer": "x"}`:                       `unknown field "lodaer"` + fields,
		`{"limits": {"memry": 1}}`:              `unknown field "memry"` + fields,
		"{\n\n\"version\": 1.2}":                "line 3: field version cannot be a number",
		`{"limits": {"timeout": "soon"}}`:       `"soon" is not a duration such as 1.5s`,
		`{"limits": {"timeout": 5}}`:            "line 1: field limits.timeout cannot be a number",
		"{\"loader\":\"x\",\"code\":\"y\"}\n{}": "line 2: data after the manifest: remove it",
		`{"name": "../x", "version": "\u0007"}`: "field name: \"../x\" must begin with a letter or digit, and contain letters, digits, dots, dashes and underscores only, 100 at most\n" +
			"field version: \"\\a\" contains control characters or invalid UTF-8\n" +
			"field loader is missing: set it to the name of the loader that runs the code\nfield code is missing: set it to the file with the code",
		`{"loader":"x","code":"y","sha256":"12"}`:            `field sha256: "12" is not 64 hex digits`,
		`{"loader":"x","code":"y","services":["a..b"]}`:      `field services: "a..b" is not a full service name`,
		`{"loader":"x","code":"y","wire_names":{"a":"b"}}`:   `field wire_names: "a" has no descriptor: set the field descriptors`,
		`{"loader":"x","code":"y","limits":{"memory":-1}}`:   "field limits: limits must not be negative",
		`{"loader":"x","code":"y","args":["\u0000"]}`:        `field args: entry 1 contains a NUL byte`,
		`{"loader":"x","code":"y","env":["x"]}`:              `field env: entry 1 is not of the form name=value`,
		`{"loader":"x","code":"y","env":["DYNPSRPC_BUS=x"]}`: `field env: "DYNPSRPC_BUS": names with the prefix DYNPSRPC_ are reserved for the loader`,
	} {
		_, err := plugin.ParseManifest([]byte(manifest))
		require.EqualError(t, err, expected, manifest)
	}
}

// descriptorSet returns an encoded descriptor set, as protoc -o writes it.
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

func TestReadSource_ReadsADescriptorSet(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) {
		m.Descriptors, m.Services = "greeting.binpb", nil
		m.WireNames = map[string]string{parting: "Farewell"}
	})
	f.write("greeter/greeting.binpb", descriptorSet(t))
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
	f := newFleet(t)
	folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Services = []string{"api.Service"}; m.Descriptors = "api/service.proto" })
	f.write("greeter/api/service.proto", `syntax = "proto3"; package api; import "types/message.proto"; import "options.proto";
service Service { rpc Get(types.Message) returns (types.Message) { option (psrpc.options).type = MULTI; } }`)
	f.write("greeter/types/message.proto", `syntax = "proto3"; package types; message Message {}`)
	source, err := plugin.ReadSource(folder)
	require.NoError(t, err)
	assert.Equal(t, registry.KindMulti, source.Services[0].Methods()[0].Kind())
}

func TestReadSource_ReportsErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change   func(t *testing.T, f *fleet, m *plugin.Manifest)
		expected string
	}{
		"no manifest": {func(_ *testing.T, f *fleet, _ *plugin.Manifest) {
			f.remove = plugin.ManifestName
		}, "manifest plugin.json: "},
		"manifest too large": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Args = []string{strings.Repeat("x", 1<<20)} },
			"manifest plugin.json: plugin.json is larger than 1048576 bytes"},
		"checksum": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) {
			m.SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		}, "field code of plugin.json: code has the checksum b5"},
		"code outside": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Code = "../secret" },
			`field code of plugin.json: "../secret" is not a path inside the plugin's folder`},
		"code absolute": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Code = "/etc/passwd" },
			`"/etc/passwd" is not a path inside the plugin's folder`},
		"code linked outside": {func(t *testing.T, f *fleet, m *plugin.Manifest) {
			f.write("secret", "secret")
			f.write("greeter/x", "")
			require.NoError(t, os.Symlink(filepath.Join(f.root, "secret"), filepath.Join(f.root, "greeter", "link")))
			m.Code = "link"
		}, "path escapes from parent"},
		"code is a folder": {func(_ *testing.T, f *fleet, m *plugin.Manifest) {
			f.write("greeter/folder/x", "")
			m.Code = "folder"
		}, "field code of plugin.json: folder is not a regular file"},
		"no descriptors": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Descriptors = "lost.proto" },
			"field descriptors of plugin.json: lost.proto: lost.proto is not in the plugin's folder: file does not exist"},
		"no code": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Code = "lost" },
			"field code of plugin.json: lost is not in the plugin's folder: file does not exist"},
		"bad descriptors": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Descriptors = "code" },
			"code: not a FileDescriptorSet as written by protoc -o or buf build"},
		"bad proto": {func(_ *testing.T, f *fleet, m *plugin.Manifest) {
			f.write("greeter/bad.proto", "syntax = \"proto3\";\nservice {}")
			m.Descriptors = "bad.proto"
		}, "bad.proto:2"},
		"unknown service": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.Services = []string{"greeting.Gretter"} },
			`manifest plugin.json: field services: no service "greeting.Gretter" in greeting.proto, which has [greeting.Greeter greeting.Parting]`},
		"unknown wire name": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) {
			m.Services, m.WireNames = nil, map[string]string{"greeting.Gretter": "x"}
		}, `field wire_names: no service "greeting.Gretter" in greeting.proto`},
		"bad wire name": {func(_ *testing.T, _ *fleet, m *plugin.Manifest) { m.WireNames = map[string]string{greeter: "x y"} },
			"field wire_names: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) { test.change(t, f, m) })
			if f.remove != "" {
				require.NoError(t, os.Remove(filepath.Join(folder, f.remove)))
			}
			_, err := plugin.ReadSource(folder)
			require.ErrorContains(t, err, test.expected)
			require.ErrorContains(t, err, "plugin "+folder+": ")
		})
	}
	_, err := plugin.ReadSource(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

const mixedProto = proto + `
message M {} service Health { rpc Check(M) returns (M); rpc Watch(M) returns (stream M); }`

func TestReadSource_LeavesOutGRPCServices(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Descriptors, m.Services = "mixed.proto", nil })
	f.write("greeter/mixed.proto", mixedProto)
	source, err := plugin.ReadSource(folder)
	require.NoError(t, err)
	assert.Equal(t, []string{greeter, parting}, source.ServiceNames())

	folder = f.plugin("greeter", "v 2", func(m *plugin.Manifest) {
		m.Descriptors, m.Services = "mixed.proto", []string{greeter, "greeting.Health"}
	})
	_, err = plugin.ReadSource(folder)
	require.ErrorContains(t, err, "field services: greeting.Health in mixed.proto is a gRPC service")
}

func TestReadSource_WireNamesOfTwoVersions(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) {
		m.Descriptors, m.Services = "versions.proto", nil
		m.WireNames = map[string]string{"v2.Jobs": "JobsV2"}
	})
	const service = `message M {} service Jobs { rpc Get(M) returns (M); }`
	f.write("greeter/versions.proto", `syntax = "proto3"; package v1; import public "v2.proto"; `+service)
	f.write("greeter/v2.proto", `syntax = "proto3"; package v2; `+service)
	_, err := plugin.ReadSource(folder)
	require.ErrorContains(t, err, `no service "v2.Jobs"`, "a source has the services of its own file only")

	files := registry.New()
	require.NoError(t, files.ParseProto(os.DirFS(folder), "versions.proto"))
	v1, _ := files.Service("v1.Jobs")
	file := v1.Descriptor().ParentFile()
	set, err := protobuf.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(file.Imports().Get(0)), protodesc.ToFileDescriptorProto(file)}})
	require.NoError(t, err)
	f.write("greeter/versions.proto", "")
	folder = f.plugin("greeter", "v 2", func(m *plugin.Manifest) {
		m.Descriptors, m.Services = "versions.binpb", nil
		m.WireNames = map[string]string{"v2.Jobs": "JobsV2"}
	})
	f.write("greeter/versions.binpb", string(set))
	source, err := plugin.ReadSource(folder)
	require.NoError(t, err)
	require.Len(t, source.Services, 2)
	assert.Equal(t, "Jobs", source.Services[0].WireName())
	assert.Equal(t, "JobsV2", source.Services[1].WireName())
}

func TestReadSource_LinksThatLeadOut(t *testing.T) {
	t.Parallel()
	for file, target := range map[string]string{
		"code":              "../code",
		plugin.ManifestName: "../" + plugin.ManifestName,
		"greeting.proto":    "sub/../../greeting.proto",
		"sub/code":          "/etc/hostname",
		"linked/code":       "..",
		"import.proto":      "../greeting.proto",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) {
				switch file {
				case "sub/code", "linked/code":
					m.Code = file
				case "import.proto":
					m.Descriptors = "main.proto"
				}
			})
			f.write("greeter/main.proto", `syntax = "proto3"; import "import.proto"; message M {}`)
			f.write("greeter/sub/x", "")
			for _, name := range []string{"code", plugin.ManifestName} {
				f.write(name, "outside")
			}
			link := filepath.Join(folder, filepath.FromSlash(file))
			if file == "linked/code" {
				link = filepath.Dir(link)
			}
			require.NoError(t, os.RemoveAll(link))
			require.NoError(t, os.Symlink(target, link))
			_, err := plugin.ReadSource(folder)
			require.ErrorContains(t, err, file+" is a link, or is behind one, that leads out of the plugin's folder or is absolute")
		})
	}
}
