package registry

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const service = " service S { rpc Call(Req) returns (Res); } "

func TestParseProto_FilesAndImports(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.ParseProto(protos(
		"a.proto", `syntax = "proto3"; package a; import "lib/types.proto"; import "google/protobuf/empty.proto";
			service A { rpc Call(lib.Req) returns (google.protobuf.Empty); }`,
		"b.proto", `syntax = "proto3"; package b; import public "lib/types.proto"; service B { rpc Call(lib.Req) returns (lib.Req); }`,
		"types_only.proto", `syntax = "proto3"; message M {}`,
		"lib/types.proto", `syntax = "proto3"; package lib; message Req {} service Lib { rpc Call(Req) returns (Req); }`,
		"broken.proto", `not named, not read`,
	), "b.proto", "a.proto", "types_only.proto", "a.proto"))
	var names []string
	for _, s := range r.Services() {
		names = append(names, s.String())
	}
	assert.Equal(t, []string{"a.A", "b.B"}, names, "services of named files only")
}

func TestParseProto_FromDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "a.proto"), []byte(header+service), 0o600))
	r := New()
	require.NoError(t, r.ParseProto(os.DirFS(dir), "sub/a.proto"))
	assert.Len(t, r.Services(), 1)
	require.ErrorIs(t, r.ParseProto(os.DirFS(dir), "a.proto"), fs.ErrNotExist)
	assert.ErrorContains(t, r.ParseProto(os.DirFS(dir), "sub"), "sub: not a regular file")
}

func TestParseProto_KeepsCommentsAndPositions(t *testing.T) {
	t.Parallel()
	s := parseService(t, `
// What S does.
service S {
  // What Call does.
  rpc Call(Req) returns (Res); }`)
	location := s.Descriptor().ParentFile().SourceLocations().ByDescriptor(s.Methods()[0].Descriptor())
	assert.Equal(t, " What Call does.\n", location.LeadingComments)
	assert.Equal(t, 6, location.StartLine)
}

func TestParseProto_BuiltinOptions(t *testing.T) {
	t.Parallel()
	file := func(path, pkg string) string {
		return `syntax = "proto3"; package ` + pkg + `; import "` + path + `"; message M {}
			service ` + strings.ToUpper(pkg) + ` { rpc Call(M) returns (M) { option (psrpc.options).stream = true; } }`
	}
	a, b := file("options.proto", "a"), file("psrpc/options.proto", "b")
	for label, fsys := range map[string]fstest.MapFS{
		"built in":             protos("a.proto", a, "b.proto", b),
		"user's options.proto": protos("a.proto", a, "b.proto", b, "options.proto", publishedOptions),
		"user's psrpc/options": protos("a.proto", a, "b.proto", b, "psrpc/options.proto", publishedOptions),
		"user's old descriptor.proto": protos("a.proto", a, "b.proto", b, "google/protobuf/descriptor.proto",
			`syntax = "proto2"; package google.protobuf; message FileOptions { extensions 1000 to max; }
				message MethodOptions { extensions 1000 to max; }`),
		"user's is another message": protos("a.proto", strings.ReplaceAll(a, "options.proto", "psrpc/options.proto"), "b.proto", b, "options.proto", `syntax = "proto3"; message Mine {}`),
		"user's is broken, unused":  protos("a.proto", strings.ReplaceAll(a, "options.proto", "psrpc/options.proto"), "b.proto", b, "options.proto", `broken`),
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			r := New()
			require.NoError(t, r.ParseProto(fsys, "a.proto", "b.proto"))
			for _, name := range []string{"a.A/Call", "b.B/Call"} {
				m, ok := r.Method(name)
				require.True(t, ok)
				assert.Equal(t, KindStream, m.Kind())
			}
		})
	}
}

func TestParseProto_UsersOptionsWin(t *testing.T) {
	t.Parallel()
	mine := strings.ReplaceAll(optionsSource, "bool stream = 4;", "bool flow = 4;")
	for _, path := range []string{"options.proto", "psrpc/options.proto"} {
		source := `syntax = "proto3"; import "` + path + `"; message M {}
			service S { rpc Call(M) returns (M) { option (psrpc.options).flow = true; } }`
		r := New()
		require.NoError(t, r.ParseProto(protos("a.proto", source, path, mine), "a.proto"))
		m, ok := r.Method("S/Call")
		require.True(t, ok)
		assert.Equal(t, KindStream, m.Kind(), "the number counts, not the name")
	}
}

func TestParseProto_Mistakes(t *testing.T) {
	t.Parallel()
	const proto3 = "syntax = \"proto3\";\n"
	for label, test := range map[string]struct {
		fsys  fstest.MapFS
		files []string
		want  []string
		is    error
	}{
		"syntax errors of several files": {
			protos("a.proto", proto3+"message A { int32 = 1; }\nmessage B { foo }", "b.proto", proto3+"messag X {}"),
			[]string{"a.proto", "b.proto"},
			[]string{"a.proto:2:19: syntax error", "a.proto:3:17: syntax error", "b.proto:2:1: syntax error"}, nil,
		},
		"unknown types": {
			protos("a.proto", proto3+"message A { Gone a = 1;\n Lost b = 2; }", "b.proto", proto3+"service S { rpc C(No) returns (No); }"),
			[]string{"a.proto", "b.proto"},
			[]string{"a.proto:2:13: field A.a: unknown type Gone", "a.proto:3:2: field A.b: unknown type Lost", "b.proto:2:19:"}, nil,
		},
		"missing imports": {
			protos(
				"a.proto", proto3+"import \"b.proto\";\nimport \"gone.proto\";", "b.proto", proto3+"import \"lost.proto\";",
				"c.proto", proto3+"message M { oops }"),
			[]string{"a.proto", "c.proto"},
			[]string{"a.proto:3:1: import \"gone.proto\": file does not exist", "b.proto:2:1: import \"lost.proto\": file does not exist", "c.proto:2:18: syntax error"},
			fs.ErrNotExist,
		},
		"unknown file of protobuf": {
			protos("a.proto", proto3+`import "google/protobuf/gone.proto";`), []string{"a.proto"},
			[]string{`a.proto:2:1: import "google/protobuf/gone.proto": file does not exist`}, fs.ErrNotExist,
		},
		"import cycle": {
			protos("a.proto", proto3+`import "b.proto";`, "b.proto", proto3+`import "c.proto";`, "c.proto", proto3+`import "a.proto";`),
			[]string{"a.proto"}, []string{`.proto:2:8: cycle found in imports: "`}, nil,
		},
		"import of itself": {
			protos("a.proto", proto3+`import "a.proto";`), []string{"a.proto"},
			[]string{`a.proto:2:8: cycle found in imports: "a.proto" -> "a.proto"`}, nil,
		},
		"import outside": {
			protos("a.proto", proto3+`import "../b.proto";`), []string{"a.proto"},
			[]string{`a.proto:2:1: import "../b.proto": invalid argument path: want it relative to the root`}, fs.ErrInvalid,
		},
		"import of a directory": {
			protos("a.proto", proto3+`import "sub";`, "sub/b.proto", proto3), []string{"a.proto"},
			[]string{`a.proto:2:1: import "sub": not a regular file`}, nil,
		},
		"missing files": {
			protos("a.proto", proto3), []string{"gone.proto", "a.proto", "lost.proto"},
			[]string{"gone.proto: file does not exist", "lost.proto: file does not exist"}, fs.ErrNotExist,
		},
		"built-in files are not the user's": {
			protos("a.proto", proto3), []string{"options.proto", "google/protobuf/empty.proto"},
			[]string{"options.proto: file does not exist", "google/protobuf/empty.proto: file does not exist"}, fs.ErrNotExist,
		},
		"invalid paths": {
			protos("a.proto", proto3), []string{"./a.proto", "/a.proto", "../a.proto", ""},
			[]string{"./a.proto: invalid argument path", "/a.proto: invalid", "../a.proto: invalid", "invalid argument path"}, fs.ErrInvalid,
		},
		"directories":  {protos("sub/a.proto", proto3), []string{"sub", "."}, []string{"sub: not a regular file", ".: not a regular file"}, nil},
		"no services":  {protos("a.proto", proto3), []string{"a.proto"}, []string{"no service"}, ErrNoService},
		"no files":     {protos(), nil, []string{"no service: no .proto files given"}, ErrNoService},
		"empty file":   {protos("a.proto", ""), []string{"a.proto"}, []string{"no service"}, ErrNoService},
		"binary":       {protos("a.proto", "\x00\xff\xfe"), []string{"a.proto"}, []string{"a.proto:1:1:"}, nil},
		"deep nesting": {protos("a.proto", proto3+strings.Repeat("message A {", 500)), []string{"a.proto"}, []string{"a.proto: line 2: more than 100 nested { brackets"}, nil},
		"too large":    {protos("a.proto", strings.Repeat(" ", DefaultMaxSourceSize+1)), []string{"a.proto"}, []string{"a.proto: larger than 4 MiB"}, nil},
		"long line":    {protos("a.proto", proto3+strings.Repeat(" ", maxLineLength+1)), []string{"a.proto"}, []string{"a.proto: line 2: longer than 16 KiB"}, nil},
		"declared twice": {
			protos("a.proto", proto3+"import \"options.proto\";\nimport \"mine.proto\";", "mine.proto", optionsSource),
			[]string{"a.proto"}, []string{`symbol "psrpc.options" already defined`}, nil,
		},
		"options misspelled": {
			protos("a.proto", header+"service S { rpc C(Req) returns (Res) {\n option (psrpc.options).kind = MULTI; } }"),
			[]string{"a.proto"}, []string{"a.proto:4:"}, nil,
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			r := New()
			err := r.ParseProto(test.fsys, test.files...)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			assert.Empty(t, r.Services())
		})
	}
}

func TestParseProto_NilFileSystem(t *testing.T) {
	t.Parallel()
	assert.ErrorIs(t, New().ParseProto(nil, "a.proto"), ErrNoService)
}

// panickingFS is a file system whose methods panic.
type panickingFS struct{}

func (panickingFS) Open(string) (fs.File, error) { panic("no such luck") }

func TestParseProto_PanicBecomesError(t *testing.T) {
	t.Parallel()
	assert.ErrorContains(t, New().ParseProto(panickingFS{}, "a.proto"), "no such luck")
}

func TestParseProto_StopsAfterAHundredMistakes(t *testing.T) {
	t.Parallel()
	err := New().ParseProto(protos("a.proto", strings.Repeat("\x00", 1000)), "a.proto")
	require.ErrorContains(t, err, "too many errors")
	assert.LessOrEqual(t, strings.Count(err.Error(), "\n"), maxProblems)
}

func TestParseProto_ErrorsAreInOrder(t *testing.T) {
	t.Parallel()
	err := New().ParseProto(protos(
		"b.proto", "syntax = \"proto3\"; message A { X a = 1;\n Y b = 2; }",
		"a.proto", "syntax = \"proto3\"; message B { Z c = 1; }"), "b.proto", "a.proto")
	var places []string
	for line := range strings.Lines(err.Error()) {
		place, _, _ := strings.Cut(line, " ")
		places = append(places, place)
	}
	assert.Equal(t, []string{"a.proto:1:32:", "b.proto:1:32:", "b.proto:2:2:"}, places)
	var first *SchemaError
	require.True(t, errors.As(err, &first))
	assert.Equal(t, "a.proto", first.File)
	assert.Equal(t, 1, first.Line)
	assert.Equal(t, 32, first.Column)
}

func FuzzParseProto(f *testing.F) {
	f.Add(header + service)
	f.Add(`syntax = "proto2"; import "options.proto"; import "a.proto"; message M { extensions 1 to max; }`)
	f.Add(`edition = "2023"; package a.b; option features.field_presence = IMPLICIT; message M { map<string, M> m = 1; }`)
	f.Add(`syntax = "proto3"; import "psrpc/options.proto"; message M { oneof o { int32 a = 1 [json_name = "x"]; } reserved 2; }
		service S { rpc C(M) returns (M) { option (psrpc.options) = { topics: true topic_params { names: ["a", "b"] } type: MULTI }; } }`)
	f.Add("message A {" + strings.Repeat("{[<", 40))
	f.Add("\xef\xbb\xbfsyntax = 'proto3'; /* open")
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 64<<10 {
			return
		}
		started := time.Now()
		r := New()
		err := r.ParseProto(protos("a.proto", source), "a.proto")
		assert.Less(t, time.Since(started), 20*time.Second)
		assert.Equal(t, err != nil, len(r.Services()) == 0)
		if err != nil {
			assert.NotEmpty(t, err.Error())
			assert.NotContains(t, err.Error(), "cannot be processed", "a panic was caught")
		}
	})
}

func TestParseProto_StopsAfterAHundredMissingImports(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&source, "import \"gone%d.proto\";\n", i)
	}
	err := New().ParseProto(protos("a.proto", source.String()), "a.proto")
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Equal(t, maxProblems-1, strings.Count(err.Error(), "\n"))
}
