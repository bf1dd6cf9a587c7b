package registry

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseProto_BuiltinOptionsInPlaceOfAnotherFile(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"options.proto", "psrpc/options.proto"} {
		for label, body := range map[string]string{
			"field option":   `message M { string s = 1 [(my.rule) = "x"]; }`,
			"message option": `message M { option (my.rule) = "x"; }`,
			"type":           `message M { my.Rule rule = 1; }`,
			"request":        `message M {} service T { rpc Do(my.Rule) returns (M); }`,
		} {
			source := `syntax = "proto3"; package a; import "` + path + `"; ` + body + ` service S { rpc Do(M) returns (M); }`
			err := New().ParseProto(protos("a.proto", source), "a.proto")
			require.ErrorContains(t, err, `the file system has no file "`+path+`": the psrpc options, which are built in, took its place`, label)

			err = New().ParseProto(protos("a.proto", source, path, `syntax = "proto3"; package other;`), "a.proto")
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "built in", "%s: the file is there", label)
		}
	}
	err := parseError(`service S { rpc Call(Gone) returns (Res) { option (psrpc.options).stream = true; } }`)
	assert.NotContains(t, err.Error(), "built in", "the psrpc options are meant")
}

func TestParseProto_DuplicatesAreReportedInOrder(t *testing.T) {
	t.Parallel()
	const copied = `syntax = "proto3"; package c; message M {} enum E { ZERO = 0; }`
	var first string
	for range 50 {
		err := New().ParseProto(protos(
			"proto/t.proto", copied, "t.proto", copied,
			"b.proto", `syntax = "proto3"; package b; import "t.proto"; message B { c.M m = 1; }`,
			"a.proto", `syntax = "proto3"; package a; import "proto/t.proto"; import "b.proto"; service S { rpc Do(c.M) returns (b.B); }`,
		), "a.proto")
		require.ErrorContains(t, err, `t.proto:1:39: symbol "c.M" already defined at proto/t.proto:1:39`)
		require.ErrorContains(t, err, `t.proto:1:49: symbol "c.E" already defined at proto/t.proto:1:49`)
		require.ErrorContains(t, err, `t.proto:1:53: symbol "c.ZERO" already defined at proto/t.proto:1:53; protobuf uses C++ scoping rules`)
		if first == "" {
			first = err.Error()
		}
		require.Equal(t, first, err.Error())
	}
	assert.Equal(t, 3, strings.Count(first, "already defined at proto/t.proto"), first)
}

func TestParseProto_EditionOfTheFuture(t *testing.T) {
	t.Parallel()
	err := New().ParseProto(protos("a.proto", `edition = "2024"; package a; message M {} service S { rpc Do(M) returns (M); }`), "a.proto")
	require.ErrorContains(t, err, `a.proto:1:11: edition "2024" not yet fully supported`)
	require.ErrorContains(t, err, "use RegisterDescriptorSet with a descriptor set made by protoc --include_imports -o or buf build")
	imported := `syntax = "proto3"; import "a.proto"; service T { rpc Do(a.M) returns (a.M); }`
	err = New().ParseProto(protos("a.proto", `edition = "2024"; package a; message M {}`, "b.proto", imported), "b.proto")
	assert.ErrorContains(t, err, "descriptor set")
}

func TestParseProto_OptionsWithoutTheirImport(t *testing.T) {
	t.Parallel()
	const body = ` message M {} service S { rpc Do(M) returns (M) { option (psrpc.options).stream = true; } }`
	for label, fsys := range map[string]fs.FS{
		"no import":          protos("a.proto", `syntax = "proto3";`+body),
		"another file":       protos("a.proto", `syntax = "proto3"; import "options.proto";`+body, "options.proto", `syntax = "proto3"; message Mine {}`),
		"another file psrpc": protos("a.proto", `syntax = "proto3"; import "options.proto";`+body, "options.proto", `syntax = "proto3"; package psrpc; message Mine {}`),
	} {
		err := New().ParseProto(fsys, "a.proto")
		require.ErrorContains(t, err, `unknown extension psrpc.options; import "psrpc/options.proto", which is built in`, label)
	}
	cured := protos("a.proto", `syntax = "proto3"; import "psrpc/options.proto"; import "options.proto";`+body, "options.proto", `syntax = "proto3"; message Mine {}`)
	assert.NoError(t, New().ParseProto(cured, "a.proto"))
}

func TestParseProto_SourceThatTheParserPanicsAt(t *testing.T) {
	t.Parallel()
	const broken = "\"\\\xf0A0\x0f000!\x8a0\xf0\"\xf0\xf0\xf0\xf0!"
	for _, files := range []fs.FS{
		protos("a.proto", broken),
		protos("a.proto", `syntax = "proto3"; import "b.proto";`, "b.proto", broken),
	} {
		err := New().ParseProto(files, "a.proto")
		require.Error(t, err)
		assert.Contains(t, err.Error(), ".proto: the parser failed", "the file is named")
	}
}
